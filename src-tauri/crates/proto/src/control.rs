//! The control plane's messages: JSON text frames of at most 64 KiB on one WebSocket, `/v1/party`.
//!
//! A connection serves one party and one identity. The client says `hello` with the tag and the authority it
//! dialled, the server answers with a `challenge`, the client with a [`Proof`]; only after `welcome` is anything
//! looked up. From then on each request is answered by one frame that repeats its id: what it asked for, `done`,
//! or a `fault`. Other frames carry no id and tell what others did. Request ids are the client's.

use crate::admission::Proof;
use crate::bytes::Bytes;
use crate::fault::FaultCode;
use crate::ids::{Challenge, Epoch, Incarnation, MemberId, Seq, Slot, Tag, Version};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The protocol's version; a connection speaks the highest that both sides know.
pub const VERSION: u16 = 1;
/// The WebSocket's path.
pub const PATH: &str = "/v1/party";

/// Which protocol versions a side speaks, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The oldest.
    pub min: u16,
    /// The newest.
    pub max: u16,
}

impl Versions {
    /// What this build speaks.
    pub const OURS: Versions = Versions { min: 1, max: VERSION };

    /// The highest version that both speak.
    pub fn common(self, other: Versions) -> Option<u16> {
        let highest = self.max.min(other.max);
        (highest >= self.min.max(other.min)).then_some(highest)
    }
}

impl std::fmt::Display for Versions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.min == self.max {
            write!(f, "{}", self.max)
        } else {
            write!(f, "{} to {}", self.min, self.max)
        }
    }
}

/// Something a member wrote for members only: signed and sealed, opaque to control planes. What stands outside
/// the seal is part of what is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Who wrote it.
    pub author: MemberId,
    /// In which epoch of the party.
    pub epoch: Epoch,
    /// Grows with each thing the author writes; a control plane keeps no older one.
    pub seq: Seq,
    /// Nonce and ciphertext.
    pub body: Bytes,
}

/// A frame from a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientFrame {
    /// Repeated by the answer.
    pub id: u64,
    /// What is asked.
    #[serde(flatten)]
    pub request: Request,
}

/// What a member asks of its control plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Request {
    /// Opens the conversation. Answer: `challenge`, whether the tag is known or not.
    Hello {
        /// What the client speaks.
        versions: Versions,
        /// The party.
        tag: Tag,
        /// `host:port` as dialled.
        authority: String,
    },
    /// Answers the challenge. Answer: `welcome`.
    Prove {
        /// Of holding the party ID, and of the identity.
        proof: Proof,
    },
    /// Founds the party; the founder gets slot 1. Repeating it is harmless. Answer: `party`.
    RegisterParty {
        /// The founding record, from which every member checks the party ID.
        founding: Sealed,
    },
    /// Takes or resumes a lease. Answer: `party` with the slot.
    JoinParty {
        /// The slot held before, granted again when it is this identity's or was never dealt: so leases survive
        /// a server that lost its memory.
        resume: Option<Slot>,
    },
    /// Gives the lease up. Answer: `done`.
    LeaveParty {
        /// The leaver's signed word, passed to the others.
        statement: Sealed,
    },
    /// Ends the party for all; the founder's alone. Answer: `done`.
    DissolveParty {
        /// The host's signed word, passed to the others.
        statement: Sealed,
    },
    /// Publishes the member's record. Answer: `done`.
    UpdatePeer {
        /// The record; its `seq` must be higher than the last.
        record: Sealed,
    },
    /// Tells that the member is still there. Answer: `done`.
    Heartbeat {},
    /// Asks for the founding record without joining. Answer: `party` without a slot.
    Discover {},
    /// Asks for a page of the member list. Answer: `snapshot`.
    Snapshot {
        /// From 0.
        page: u16,
    },
    /// Passes something to one member that is there. Answer: `done`, or `fault` when it is away.
    Signal {
        /// For whom.
        to: MemberId,
        /// Sealed for it alone.
        signal: Sealed,
    },
    /// Asks for relays with fresh credentials, before the old ones run out. Answer: `relays`.
    RenewCredentials {},
}

/// A frame from a control plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerFrame {
    /// The request that this answers; none on news.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub re: Option<u64>,
    /// What is said.
    #[serde(flatten)]
    pub message: ServerMessage,
}

/// What a control plane says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    /// To be signed.
    Challenge {
        /// Fresh for each connection.
        challenge: Challenge,
    },
    /// The proof holds.
    Welcome {
        /// What both speak from here on.
        version: u16,
        /// How often to send a heartbeat, seconds.
        heartbeat_seconds: u16,
        /// The address the client's connection came from; with the client's UDP port it is a guess at how
        /// others may reach it.
        seen_as: Option<IpAddr>,
        /// STUN servers, `host:port`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        stun: Vec<String>,
    },
    /// What the control plane knows of the party.
    Party {
        /// The state it is in.
        version: Version,
        /// The founding record.
        founding: Sealed,
        /// The member's slot, on register and join.
        slot: Option<Slot>,
        /// Relays for the member, on register and join.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        relays: Vec<RelayOffer>,
    },
    /// Relays for the member.
    Relays {
        /// With credentials that are good from now.
        relays: Vec<RelayOffer>,
    },
    /// A page of the member list.
    Snapshot {
        /// The state this page shows; pages of different states are asked for again.
        version: Version,
        /// This page, from 0.
        page: u16,
        /// How many there are.
        pages: u16,
        /// In order of their slots.
        members: Vec<MemberEntry>,
    },
    /// Somebody took or resumed a lease.
    PeerJoined {
        /// After it.
        version: Version,
        /// Who.
        member: MemberEntry,
    },
    /// A member published a record, or came or went.
    PeerUpdated {
        /// After it.
        version: Version,
        /// Who.
        member: MemberEntry,
    },
    /// A member is gone.
    PeerLeft {
        /// After it.
        version: Version,
        /// Who.
        member: MemberId,
        /// Its signed word; none when it was silent for five minutes.
        statement: Option<Sealed>,
    },
    /// Something from another member.
    Signal {
        /// Sealed for this member alone.
        signal: Sealed,
    },
    /// The party has ended.
    PartyDissolved {
        /// The host's signed word.
        statement: Option<Sealed>,
    },
    /// The same identity connected from elsewhere; this connection is over and should not be retried.
    Superseded {},
    /// The request is carried out, durably where that matters.
    Done {},
    /// The server speaks none of the versions in the `hello`.
    VersionUnsupported {
        /// What it does speak.
        versions: Versions,
    },
    /// The request is refused.
    Fault {
        /// Why.
        code: FaultCode,
    },
}

/// A relay and what it takes to use it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayOffer {
    /// One way to it, a TURN URI ([`crate::TurnUri`]). What a client can't read it passes over.
    pub uri: String,
    /// For TURN's long-term credential mechanism (RFC 8489 §9.2).
    pub username: String,
    /// Likewise.
    pub password: String,
    /// For how long something can be allocated with them; what is allocated goes on.
    pub ttl_seconds: u32,
}

impl std::fmt::Debug for RelayOffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RelayOffer")
            .field("uri", &self.uri)
            .field("ttl_seconds", &self.ttl_seconds)
            .finish_non_exhaustive()
    }
}

/// A member as its control plane sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberEntry {
    /// Who.
    pub member: MemberId,
    /// The lease the control plane dealt; only the record's signature makes it true.
    pub slot: Slot,
    /// Whether it is connected now.
    pub online: bool,
    /// Its newest record.
    pub record: Option<Sealed>,
}

/// The first frame that doesn't fit gets the connection closed, not an answer.
pub fn fits(frame: &str) -> bool {
    frame.len() <= crate::limits::CONTROL_FRAME
}

impl Version {
    /// The state after one more change.
    #[must_use]
    pub fn bumped(self) -> Self {
        Self {
            incarnation: self.incarnation,
            counter: self.counter + 1,
        }
    }

    /// The first state of a new incarnation.
    pub fn first(incarnation: Incarnation) -> Self {
        Self {
            incarnation,
            counter: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_read_as_their_documentation_says() {
        let frame = ClientFrame {
            id: 7,
            request: Request::JoinParty {
                resume: Slot::try_from(3).ok(),
            },
        };
        let text = serde_json::to_string(&frame).unwrap();
        assert_eq!(text, r#"{"id":7,"type":"join_party","resume":3}"#);
        assert_eq!(serde_json::from_str::<ClientFrame>(&text).unwrap(), frame);
        let news = ServerFrame {
            re: None,
            message: ServerMessage::Superseded {},
        };
        assert_eq!(serde_json::to_string(&news).unwrap(), r#"{"type":"superseded"}"#);
        assert!(serde_json::from_str::<ClientFrame>(r#"{"id":7,"type":"join_party","resume":0}"#).is_err());
    }

    #[test]
    fn a_server_that_offers_nothing_says_nothing_of_it() {
        let text = r#"{"re":1,"type":"welcome","version":1,"heartbeat_seconds":30,"seen_as":null}"#;
        let frame = ServerFrame {
            re: Some(1),
            message: ServerMessage::Welcome {
                version: 1,
                heartbeat_seconds: 30,
                seen_as: None,
                stun: Vec::new(),
            },
        };
        assert_eq!(serde_json::to_string(&frame).unwrap(), text);
        assert_eq!(serde_json::from_str::<ServerFrame>(text).unwrap(), frame);
    }

    #[test]
    fn a_password_is_not_shown() {
        let offer = RelayOffer {
            uri: "turn:relay.example.org:3478".to_owned(),
            username: "1:a".to_owned(),
            password: "secret".to_owned(),
            ttl_seconds: 60,
        };
        assert!(!format!("{offer:?}").contains("secret"));
    }

    #[test]
    fn a_full_snapshot_page_fits_a_frame() {
        let sealed = Sealed {
            author: MemberId([255; 32]),
            epoch: Epoch(u32::MAX),
            seq: Seq(u64::MAX),
            body: Bytes(vec![255; crate::limits::SEALED_RECORD]),
        };
        let entry = MemberEntry {
            member: MemberId([255; 32]),
            slot: Slot::MAX,
            online: false,
            record: Some(sealed),
        };
        let frame = ServerFrame {
            re: Some(u64::MAX),
            message: ServerMessage::Snapshot {
                version: Version {
                    incarnation: Incarnation(u64::MAX),
                    counter: u64::MAX,
                },
                page: u16::MAX,
                pages: u16::MAX,
                members: vec![entry; crate::limits::SNAPSHOT_PAGE],
            },
        };
        assert!(fits(&serde_json::to_string(&frame).unwrap()));
    }

    #[test]
    fn versions_meet_at_the_highest_common_one() {
        let versions = |min, max| Versions { min, max };
        assert_eq!(versions(1, 3).common(versions(2, 5)), Some(3));
        assert_eq!(versions(1, 1).common(versions(2, 5)), None);
    }
}
