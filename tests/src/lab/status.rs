//! Reading `lanrage-engine status --json`.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use serde_json::Value;

/// One status of an engine, as its command line prints it.
#[derive(Clone, Debug)]
pub struct Status(pub Value);

/// One row of the member list.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// The name the player chose.
    pub name: String,
    /// The virtual address of the lease.
    pub address: Ipv4Addr,
    /// Whether this is the engine's own row.
    pub own: bool,
    /// Whether it is the party's host.
    pub host: bool,
    /// `connecting`, `connected`, `degraded`, `failed`, `lost` or `disconnected`.
    pub state: String,
    /// `lan`, `direct`, `relayed`, or none.
    pub path: Option<String>,
    /// Round trip, milliseconds.
    pub rtt_ms: Option<f64>,
}

impl Member {
    /// Whether packets reach it now and its round trip is known.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self.state.as_str(), "connected" | "degraded") && (self.own || self.rtt_ms.is_some())
    }
}

impl Status {
    /// The state of the party: `creating`, `joining`, `active`, `rejoining`, `leaving`; none without a party.
    #[must_use]
    pub fn party_state(&self) -> Option<&str> {
        self.0["party"]["state"].as_str()
    }

    /// Whether the engine is in no party.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.0["party"].is_null()
    }

    /// `local` or `remote`.
    #[must_use]
    pub fn control_mode(&self) -> Option<&str> {
        self.0["engine"]["control"]["mode"].as_str()
    }

    /// What the engine calls the NAT before it: `open`, `full_cone`, `restricted_cone`, `port_restricted_cone`,
    /// `symmetric` or `unknown`.
    #[must_use]
    pub fn nat_type(&self) -> Option<&str> {
        self.0["nat"]["type"].as_str()
    }

    /// The party's members, own row included; empty without a party.
    ///
    /// # Errors
    /// When a row lacks a field or holds something else than the contract says.
    pub fn members(&self) -> Result<Vec<Member>> {
        let Some(rows) = self.0["party"]["members"].as_array() else {
            return Ok(Vec::new());
        };
        rows.iter()
            .map(|row| member(row).with_context(|| format!("the member row {row}")))
            .collect()
    }

    /// The address of the own row.
    ///
    /// # Errors
    /// As [`Status::members`]; without an own row as well.
    pub fn own_address(&self) -> Result<Ipv4Addr> {
        let own = self.members()?.into_iter().find(|member| member.own);
        Ok(own.with_context(|| format!("no own row in {}", self.0))?.address)
    }

    /// The row of another member, if it is listed.
    ///
    /// # Errors
    /// As [`Status::members`].
    pub fn peer(&self, address: Ipv4Addr) -> Result<Option<Member>> {
        Ok(self
            .members()?
            .into_iter()
            .find(|member| !member.own && member.address == address))
    }

    /// Whether the party is active with exactly `others` other members, all of them up.
    ///
    /// # Errors
    /// As [`Status::members`].
    pub fn all_up(&self, others: usize) -> Result<bool> {
        let members = self.members()?;
        let peers = members.iter().filter(|member| !member.own).count();
        Ok(self.party_state() == Some("active") && peers == others && members.iter().all(Member::is_up))
    }

    /// Whether a condition with this fault code is present.
    #[must_use]
    pub fn has_condition(&self, code: &str) -> bool {
        let conditions = self.0["conditions"].as_array().map_or(&[][..], Vec::as_slice);
        conditions.iter().any(|condition| condition["code"] == code)
    }

    /// A line per member, short enough for a message.
    #[must_use]
    pub fn summary(&self) -> String {
        let party = &self.0["party"];
        let rows = party["members"].as_array().map_or(&[][..], Vec::as_slice);
        let rows: Vec<String> = rows
            .iter()
            .map(|row| {
                format!(
                    "{} {} {} rtt {}",
                    row["address"], row["state"], row["path"], row["rtt_ms"]
                )
            })
            .collect();
        format!(
            "control {}, party {}, members [{}], conditions {}",
            self.0["engine"]["control"],
            party["state"],
            rows.join("; "),
            self.0["conditions"]
        )
    }
}

fn member(row: &Value) -> Result<Member> {
    let text = |key: &str| row[key].as_str().with_context(|| format!("{key} is no text"));
    let flag = |key: &str| row[key].as_bool().with_context(|| format!("{key} is no flag"));
    Ok(Member {
        name: text("name")?.to_owned(),
        address: text("address")?.parse().context("address")?,
        own: flag("self")?,
        host: flag("host")?,
        state: text("state")?.to_owned(),
        path: row["path"].as_str().map(str::to_owned),
        rtt_ms: row["rtt_ms"].as_f64(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(peer_state: &str) -> Status {
        Status(json!({
            "engine": {"version": "0.1.0", "state": "ready", "control": {"mode": "local", "state": "connected"}},
            "party": {"name": "Friday", "state": "active", "members": [
                {"name": "Anna", "address": "10.66.0.1", "self": true, "host": true, "state": "connected",
                 "path": null, "rtt_ms": null},
                {"name": "Tom", "address": "10.66.0.2", "self": false, "host": false, "state": peer_state,
                 "path": "lan", "rtt_ms": 0.4},
            ]},
            "conditions": [{"code": "control_away"}],
        }))
    }

    #[test]
    fn a_party_is_all_up_when_every_peer_is() {
        assert!(status("connected").all_up(1).unwrap());
        assert!(!status("lost").all_up(1).unwrap());
        assert!(!status("connected").all_up(2).unwrap());
    }

    #[test]
    fn rows_and_conditions_are_found() {
        let status = status("connected");
        assert_eq!(status.own_address().unwrap(), Ipv4Addr::new(10, 66, 0, 1));
        assert_eq!(
            status.peer(Ipv4Addr::new(10, 66, 0, 2)).unwrap().unwrap().name,
            "Tom"
        );
        assert_eq!(status.peer(Ipv4Addr::new(10, 66, 0, 1)).unwrap(), None);
        assert!(status.has_condition("control_away") && !status.has_condition("no_relay"));
    }
}
