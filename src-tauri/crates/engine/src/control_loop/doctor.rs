//! What `doctor` reports: the member's part, and what the engine alone knows.

use super::Engine;
use crate::ipc_server::owns;
use crate::{adapter, checkup, network};
use lanrage_core::doctor::{Diagnosis, family_report, findings, udp_state};
use lanrage_platform::caller::Caller;
use lanrage_proto::Fault;
use lanrage_proto::doctor::{AdapterReport, Change, Report};
use lanrage_proto::ipc::Reply;
use std::net::IpAddr;
use tokio::sync::oneshot;

impl Engine {
    /// Answers with what is known. Without a party that is little, so the network is asked first, off the loop.
    pub(super) fn doctor(&mut self, caller: Caller, answer: oneshot::Sender<Result<Reply, Fault>>) {
        let mut report = self.examined();
        let mine = owns(&caller, self.owner);
        if self.in_party() {
            report.findings.extend(findings(&report, true));
            let report = if mine { report } else { report.for_strangers() };
            let _ = answer.send(Ok(Reply::Doctor(Box::new(report))));
            return;
        }
        let (checkup, range, server) = (self.checkup.clone(), self.range, self.server.clone());
        tokio::spawn(async move {
            let reached = async {
                match &server {
                    Some(server) => Some(checkup::answers(server).await),
                    None => None,
                }
            };
            let (nat, reached) = tokio::join!(checkup.nat(range), reached);
            let own = network::look(None, range, 0).unwrap_or_default();
            let own: Vec<IpAddr> = own.addresses.iter().map(|(own, _)| *own).collect();
            report.ipv4 = family_report(&nat.v4, &own, true);
            report.ipv6 = family_report(&nat.v6, &own, false);
            report.control.answers = reached;
            let tcp = reached == Some(true);
            report.udp = udp_state(&report.ipv4, &report.ipv6, false, false, tcp);
            report.findings.extend(findings(&report, false));
            // Who asked may have gone away.
            let _ = answer.send(Ok(Reply::Doctor(Box::new(report))));
        });
    }

    /// The report, with the conditions as its only findings.
    fn examined(&mut self) -> Report {
        let Diagnosis {
            control,
            udp,
            ipv4,
            ipv6,
            relays,
            hosting,
            peers,
        } = self.member.doctor();
        let status = self.compose().status;
        let possible = self.adapter.is_some() || adapter::possible().is_ok();
        let in_use = self
            .adapter
            .as_ref()
            .map(|adapter| (adapter.name.clone(), adapter.plan));
        let mut changes: Vec<Change> = self.journal.changes().collect();
        changes.extend(self.announces.changes());
        changes.extend(self.mapper.told.changes());
        Report {
            engine: status.engine,
            control,
            udp,
            ipv4,
            ipv6,
            relays,
            mapping: self.mapper.told.report.clone(),
            hosting,
            adapter: AdapterReport {
                possible,
                mtu: in_use.as_ref().map(|(_, plan)| plan.mtu),
                address: in_use.as_ref().map(|(_, plan)| plan.address.to_string()),
                name: in_use.map(|(name, _)| name),
            },
            changes,
            peers,
            findings: status.conditions,
        }
    }
}
