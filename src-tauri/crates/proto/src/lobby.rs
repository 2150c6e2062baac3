//! Games seeing each other: what of a LAN is carried between members, what peers may reach on this computer, and for
//! each announce who got it.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// What peers may reach on this computer, and which announces are carried. Each member decides for its own computer,
/// for as long as the party lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(default)]
pub struct Rules {
    /// Services of this computer that peers may use.
    pub share: Sharing,
    /// Multicast is carried as broadcast is.
    pub multicast: bool,
    /// DHCP is carried. It configures computers: two households would get each other's.
    pub dhcp: bool,
    /// Multicast DNS and LLMNR are carried, by which systems name themselves and list printers and loudspeakers.
    pub mdns: bool,
    /// SSDP and WS-Discovery are carried, by which systems list routers, televisions and computers.
    pub ssdp: bool,
    /// NetBIOS names and datagrams are carried, by which Windows lists computers that share files.
    pub netbios: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            share: Sharing::Nothing,
            multicast: true,
            dhcp: false,
            mdns: false,
            ssdp: false,
            netbios: false,
        }
    }
}

/// Services of this computer, games and their kind excepted: those are always reachable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum Sharing {
    /// No file sharing, printing, remote desktop, SSH and the like.
    #[default]
    Nothing,
    /// Shared files and printers.
    Files,
    /// Remote control too: SSH, remote desktop, VNC, WinRM.
    Everything,
}

/// Rules to change; what is absent stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(default, deny_unknown_fields)]
pub struct RulesChange {
    /// See [`Rules::share`].
    pub share: Option<Sharing>,
    /// See [`Rules::multicast`].
    pub multicast: Option<bool>,
    /// See [`Rules::dhcp`].
    pub dhcp: Option<bool>,
    /// See [`Rules::mdns`].
    pub mdns: Option<bool>,
    /// See [`Rules::ssdp`].
    pub ssdp: Option<bool>,
    /// See [`Rules::netbios`].
    pub netbios: Option<bool>,
}

impl RulesChange {
    /// The rules with this changed.
    pub fn applied_to(self, rules: Rules) -> Rules {
        Rules {
            share: self.share.unwrap_or(rules.share),
            multicast: self.multicast.unwrap_or(rules.multicast),
            dhcp: self.dhcp.unwrap_or(rules.dhcp),
            mdns: self.mdns.unwrap_or(rules.mdns),
            ssdp: self.ssdp.unwrap_or(rules.ssdp),
            netbios: self.netbios.unwrap_or(rules.netbios),
        }
    }
}

/// What of games' announces is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(default)]
pub struct LobbyStatus {
    /// What programs here announced within the last minute, in order of their ports.
    pub announces: Vec<AnnounceStatus>,
    /// What came from peers within the last minute, in order of their addresses.
    pub heard: Vec<HeardStatus>,
}

/// An announce of a program on this computer: a broadcast or multicast by which a game shows its lobby or looks for
/// others'.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct AnnounceStatus {
    /// The program's own UDP port, which answers come to.
    pub port: u16,
    /// Where it sent to: a broadcast address or a group.
    pub destination: String,
    /// The UDP port that it sent to: who wants to see it listens there.
    pub to_port: u16,
    /// The network interface it was seen on; none for the party's own adapter.
    pub interface: Option<String>,
    /// To how many members it was sent.
    pub sent: u32,
    /// On how many members' computers it arrived, as their engines confirm.
    pub delivered: u32,
    /// What became of it with each of the others.
    pub members: Vec<AnnounceMember>,
}

/// What became of an announce with one member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct AnnounceMember {
    /// The player's name.
    pub name: String,
    /// The virtual address.
    pub address: String,
    /// How far it came.
    pub reach: AnnounceReach,
    /// Whether a program there listens on the UDP port it was sent to.
    pub listens: Listens,
    /// Whether something came back from there to the announcing program's port.
    pub answered: bool,
}

/// How far an announce came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum AnnounceReach {
    /// It was not sent: there is no connection.
    Unsent,
    /// It was sent; the other engine has not confirmed it.
    Sent,
    /// It arrived on that computer.
    Delivered,
    /// That computer is on the same local network as the interface it was seen on, and gets it there.
    Nearby,
}

/// Whether a program listens on a UDP port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum Listens {
    /// The system there does not tell.
    #[default]
    Unknown,
    /// One does.
    Yes,
    /// None does, or none joined the group.
    No,
}

/// An announce that came from a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct HeardStatus {
    /// The player's name.
    pub name: String,
    /// The virtual address.
    pub address: String,
    /// The announcing program's UDP port.
    pub port: u16,
    /// Where it sent to.
    pub destination: String,
    /// The UDP port that it sent to.
    pub to_port: u16,
    /// Whether a program here listens there.
    pub listens: Listens,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_this_computer_is_shared_unless_said() {
        let rules = Rules::default();
        assert_eq!(rules.share, Sharing::Nothing);
        assert!(rules.multicast && !rules.dhcp && !rules.mdns && !rules.ssdp && !rules.netbios);
        assert_eq!(serde_json::from_str::<Rules>("{}").unwrap(), rules);
    }

    #[test]
    fn a_change_leaves_the_rest() {
        let change: RulesChange = serde_json::from_str(r#"{"share":"files","mdns":true}"#).unwrap();
        let changed = change.applied_to(Rules {
            ssdp: true,
            ..Rules::default()
        });
        let wanted = Rules {
            share: Sharing::Files,
            mdns: true,
            ssdp: true,
            ..Rules::default()
        };
        assert_eq!(changed, wanted);
        assert_eq!(RulesChange::default().applied_to(changed), changed);
        assert!(serde_json::from_str::<RulesChange>(r#"{"smb":true}"#).is_err());
    }
}
