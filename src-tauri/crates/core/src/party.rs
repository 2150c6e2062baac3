//! The party from one member's side: which state it is in, and what that state knows.

use crate::control::{Link, Speaker};
use crate::io::{AdapterPlan, Home, IntentId, Saved};
use crate::keys::{MemberKeys, PartyKeys};
use crate::lobby::Lobby;
use crate::records::{Candidate, Founding};
use crate::roster::Roster;
use crate::seek::Seek;
use lanrage_proto::control::{MemberEntry, Sealed};
use lanrage_proto::ids::Version;
use lanrage_proto::ipc::NatType;
use lanrage_proto::lobby::Rules;
use lanrage_proto::party_id::FoundingNonce;
use lanrage_proto::{Fault, PlayerName, Slot};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

/// The inner MTU: what fits every path of 1364 bytes and more, and does not change while a party lives.
pub(crate) const MTU: u16 = 1280;

/// `Idle → Creating | Joining → Active → Leaving → Idle`; within `Active`, [`Reach`] tells whether the home is there.
pub(crate) enum Party {
    Idle,
    Creating(Box<Creating>),
    Joining(Box<Joining>),
    Active(Box<Active>),
    Leaving(Box<Leaving>),
}

impl Party {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Party::Idle => "idle",
            Party::Creating(_) => "creating",
            Party::Joining(_) => "joining",
            Party::Active(active) => active.name(),
            Party::Leaving(_) => "leaving",
        }
    }
}

/// Who this member is in the party.
pub(crate) struct Ident {
    pub(crate) keys: PartyKeys,
    pub(crate) me: MemberKeys,
    pub(crate) player: PlayerName,
}

impl Ident {
    pub(crate) fn speaker(&self) -> Speaker<'_> {
        Speaker {
            party: &self.keys,
            me: &self.me,
        }
    }
}

/// Founding a party.
pub(crate) struct Creating {
    pub(crate) ident: Ident,
    pub(crate) answer: IntentId,
    pub(crate) nonce: FoundingNonce,
    pub(crate) founding: Sealed,
    pub(crate) opened: Founding,
    pub(crate) home: Home,
    /// None until the embedded control plane is there.
    pub(crate) seek: Option<Seek>,
}

/// Looking for a party's home and a lease there.
pub(crate) struct Joining {
    pub(crate) ident: Ident,
    pub(crate) answer: IntentId,
    pub(crate) seek: Seek,
}

/// In the party, with a lease.
pub(crate) struct Active {
    pub(crate) ident: Ident,
    /// The intent that brought us here, until the adapter is up.
    pub(crate) entry: Option<(IntentId, Entry)>,
    /// The founder's alone.
    pub(crate) nonce: Option<FoundingNonce>,
    pub(crate) founding: Sealed,
    pub(crate) opened: Founding,
    pub(crate) chain: [u8; 32],
    pub(crate) home: Home,
    pub(crate) slot: Slot,
    pub(crate) reach: Reach,
    pub(crate) adapter: Adapter,
    pub(crate) version: Version,
    pub(crate) roster: Roster,
    /// The newest own record.
    pub(crate) own: Option<OwnRecord>,
    /// What the newest own record says, once published on the present connection.
    pub(crate) published: Option<(Vec<Candidate>, NatType)>,
    /// Pages of a snapshot that is being fetched.
    pub(crate) paging: Option<(Version, Vec<MemberEntry>)>,
    pub(crate) last_snapshot: Option<Instant>,
    /// When the last snapshot was complete.
    pub(crate) listed: Option<Instant>,
    /// As the control plane saw us.
    pub(crate) seen_as: Option<IpAddr>,
    /// What peers may reach here, and which announces are carried.
    pub(crate) rules: Rules,
    /// Announces, and who got them.
    pub(crate) lobby: Lobby,
}

/// This member's record of itself.
pub(crate) struct OwnRecord {
    pub(crate) sealed: Sealed,
    /// What it says that may change.
    pub(crate) content: (Vec<Candidate>, NatType),
}

/// Which intent is owed an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    Create,
    Join,
}

/// How the home is reached.
pub(crate) enum Reach {
    /// The home is this engine, whose embedded control plane is still starting.
    Starting,
    /// Being looked for.
    Seeking(Box<Seek>),
    /// There, with our lease on it.
    Home(Box<Link>),
    /// The same seed connected from elsewhere; trying again would only throw the other out.
    Superseded,
}

/// How the adapter is.
pub(crate) enum Adapter {
    Waiting,
    Up,
    Failed,
}

impl Active {
    pub(crate) fn name(&self) -> &'static str {
        match (&self.entry, &self.reach) {
            (Some((_, Entry::Create)), _) => "creating",
            (Some((_, Entry::Join)), _) => "joining",
            (None, Reach::Home(_) | Reach::Superseded) => "active",
            (None, Reach::Starting | Reach::Seeking(_)) => "rejoining",
        }
    }

    pub(crate) fn is_host(&self) -> bool {
        self.nonce.is_some()
    }

    pub(crate) fn address(&self) -> Ipv4Addr {
        self.opened.range.address(self.slot)
    }

    pub(crate) fn adapter_plan(&self) -> AdapterPlan {
        AdapterPlan {
            address: self.address(),
            range: self.opened.range,
            mtu: MTU,
        }
    }

    /// What to remember across restarts.
    pub(crate) fn saved(&self) -> Saved {
        Saved {
            id: self.ident.keys.id,
            player: self.ident.player.clone(),
            nonce: self.nonce.clone(),
            founding: self.founding.clone(),
            home: self.home.clone(),
            slot: self.slot,
            records: self.roster.peers().map(|peer| peer.sealed.clone()).collect(),
            heard: self.roster.heard_of(),
            rules: self.rules,
        }
    }

    /// What peers compare with theirs; 0 while the home is away, as then it may well differ.
    pub(crate) fn view(&self) -> u64 {
        match (&self.reach, &self.published, &self.paging) {
            (Reach::Home(_), Some(_), None) => self.roster.view(&self.ident.me.id()),
            _ => 0,
        }
    }

    pub(crate) fn link(&mut self) -> Option<&mut Link> {
        match &mut self.reach {
            Reach::Home(link) => Some(link),
            Reach::Starting | Reach::Seeking(_) | Reach::Superseded => None,
        }
    }
}

/// On the way out.
pub(crate) struct Leaving {
    pub(crate) phase: Phase,
    /// Intents to answer when all is taken down.
    pub(crate) answers: Vec<IntentId>,
    /// The create or join that could not be completed, and why.
    pub(crate) refusal: Option<(IntentId, Fault)>,
}

/// How far the way out is.
pub(crate) enum Phase {
    /// The word is being passed, by the home and by the paths.
    Saying {
        active: Box<Active>,
        word: Sealed,
        repeats: Vec<Instant>,
        until: Instant,
    },
    /// The adapter is being taken down.
    Closing { until: Instant },
}
