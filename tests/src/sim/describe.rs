//! Control frames in a few words, for the transcript.

use super::Sim;
use lanrage_proto::control::{MemberEntry, Request, Sealed, ServerMessage};
use lanrage_proto::{MemberId, Seq};

impl Sim {
    fn who(&self, member: &MemberId) -> String {
        self.names
            .get(member)
            .cloned()
            .unwrap_or_else(|| "somebody".to_owned())
    }

    pub(super) fn request(&self, request: &Request) -> String {
        match request {
            Request::Hello { authority, .. } => format!("hello {authority}"),
            Request::Prove { .. } => "prove".to_owned(),
            Request::RegisterParty { .. } => "register_party".to_owned(),
            Request::JoinParty { resume: None } => "join_party".to_owned(),
            Request::JoinParty { resume: Some(slot) } => format!("join_party, had slot {}", slot.get()),
            Request::LeaveParty { statement } => format!("leave_party {}", self.sealed(statement)),
            Request::DissolveParty { statement } => format!("dissolve_party {}", self.sealed(statement)),
            Request::UpdatePeer { record } => format!("update_peer {}", self.sealed(record)),
            Request::Heartbeat {} => "heartbeat".to_owned(),
            Request::Discover {} => "discover".to_owned(),
            Request::Snapshot { page } => format!("snapshot page {page}"),
            Request::RenewCredentials {} => "renew_credentials".to_owned(),
            Request::Signal { to, signal } => format!("signal to {} {}", self.who(to), self.sealed(signal)),
        }
    }

    pub(super) fn message(&self, message: &ServerMessage) -> String {
        let word = |statement: &Option<Sealed>| match statement {
            Some(statement) => self.sealed(statement),
            None => "without a word".to_owned(),
        };
        match message {
            ServerMessage::Challenge { .. } => "challenge".to_owned(),
            ServerMessage::Welcome { .. } => "welcome".to_owned(),
            ServerMessage::Party { slot: Some(slot), .. } => format!("party, slot {}", slot.get()),
            ServerMessage::Party { slot: None, .. } => "party".to_owned(),
            ServerMessage::Relays { relays } => format!("relays, {}", relays.len()),
            ServerMessage::Snapshot {
                page,
                pages,
                members,
                version,
            } => {
                let members: Vec<_> = members.iter().map(|entry| self.entry(entry)).collect();
                let place = format!("{}/{pages} at {}", page + 1, version.counter);
                format!("snapshot {place}: {}", members.join(", "))
            }
            ServerMessage::PeerJoined { member, version } => {
                format!("peer_joined at {}: {}", version.counter, self.entry(member))
            }
            ServerMessage::PeerUpdated { member, version } => {
                format!("peer_updated at {}: {}", version.counter, self.entry(member))
            }
            ServerMessage::PeerLeft {
                member,
                statement,
                version,
            } => {
                format!(
                    "peer_left at {}: {} {}",
                    version.counter,
                    self.who(member),
                    word(statement)
                )
            }
            ServerMessage::Signal { signal } => format!("signal {}", self.sealed(signal)),
            ServerMessage::PartyDissolved { statement } => format!("party_dissolved {}", word(statement)),
            ServerMessage::Superseded {} => "superseded".to_owned(),
            ServerMessage::Done {} => "done".to_owned(),
            ServerMessage::VersionUnsupported { versions } => format!("version {versions}"),
            ServerMessage::Fault { code } => format!("fault {code}"),
        }
    }

    fn entry(&self, entry: &MemberEntry) -> String {
        let online = if entry.online { "" } else { " away" };
        let record = match &entry.record {
            Some(record) => format!(" {}", number(record.seq)),
            None => String::new(),
        };
        format!("{} {}{record}{online}", entry.slot.get(), self.who(&entry.member))
    }

    fn sealed(&self, sealed: &Sealed) -> String {
        format!(
            "{} of {}, {} bytes",
            number(sealed.seq),
            self.who(&sealed.author),
            sealed.body.0.len()
        )
    }
}

/// A sequence number as its start and its count.
fn number(seq: Seq) -> String {
    format!("#{}.{}", seq.boot(), seq.0 & u64::from(u32::MAX))
}
