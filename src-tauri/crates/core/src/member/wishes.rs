//! Wishes: what should lastingly be, recomputed from the party's state.

use super::Member;
use crate::io::{AdapterPlan, Home, HostPlan, Hosting, Output};
use crate::mapping::MapPlan;
use crate::party::{Active, Adapter, Party, Phase, Reach};
use crate::path::TransportId;
use crate::punch::HolePlan;
use crate::relays::RelayPlan;
use crate::table::{End, Table};
use lanrage_proto::Tag;
use lanrage_proto::lobby::Rules;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// What was last handed out, so that only changes are.
#[derive(Default)]
pub(super) struct Sent {
    host: Option<HostPlan>,
    browse: Option<[u8; 32]>,
    adapter: Option<AdapterPlan>,
    table: Table,
    relays: Vec<RelayPlan>,
    holes: Vec<HolePlan>,
    stun: Option<Vec<String>>,
    map: Option<MapPlan>,
    listen: BTreeSet<u16>,
    saved: Option<(Tag, Home, u64, Rules)>,
}

impl Sent {
    /// Whether an adapter was asked for and not yet taken back.
    pub(super) fn has_adapter(&self) -> bool {
        self.adapter.is_some()
    }

    /// Asks for the adapter once more.
    pub(super) fn forget_adapter(&mut self) {
        self.adapter = None;
    }
}

impl Member {
    pub(super) fn grant_wishes(&mut self) {
        let out = &mut self.desk.out;
        let active = match &self.party {
            Party::Active(active) => Some(active),
            Party::Idle | Party::Creating(_) | Party::Joining(_) | Party::Leaving(_) => None,
        };
        // What is saved is large and seldom changes; these tell whether it did.
        let saved = active.map(|active| {
            (
                active.ident.keys.tag,
                active.home.clone(),
                active.roster.revision(),
                active.rules,
            )
        });
        if self.wishes.saved != saved {
            self.wishes.saved = saved;
            out.push_back(Output::Persist(active.map(|active| Box::new(active.saved()))));
        }
        let host = host(&self.party);
        if self.wishes.host != host {
            self.hosting = None;
            self.wishes.host = host.clone();
            out.push_back(Output::Host(host));
        }
        let browse = browse(&self.party);
        if self.wishes.browse != browse {
            self.wishes.browse = browse;
            out.push_back(Output::Browse(browse));
        }
        // Before the table that has packets go by them.
        let mut holes = self.desk.punch.plans();
        holes.extend(self.desk.nat.fresh_socket());
        if self.wishes.holes != holes {
            self.wishes.holes = holes.clone();
            out.push_back(Output::Holes(holes));
        }
        // The table goes first when the adapter is taken down, so that no packet meets a half-known party.
        let table = table(&self.party, self.desk.session);
        if self.wishes.table != table {
            self.wishes.table = table.clone();
            out.push_back(Output::Table(table));
        }
        let relays = self.desk.relays.plans(&relayed_to(&self.party));
        if self.wishes.relays != relays {
            self.wishes.relays = relays.clone();
            out.push_back(Output::Relays(relays));
        }
        let stun = active.and_then(|_| self.desk.nat.names());
        if self.wishes.stun.as_deref() != stun {
            self.wishes.stun = stun.map(<[String]>::to_vec);
            out.push_back(Output::Resolve(self.wishes.stun.clone()));
        }
        let map = map(&self.party, self.desk.network.port, self.hosting.as_ref());
        if self.wishes.map != map {
            self.wishes.map = map;
            // What was granted for another plan holds no longer, or is granted again.
            self.desk.mapped = Default::default();
            out.push_back(Output::Map(map));
        }
        let listen = active
            .map(|active| active.lobby.wanted_ports())
            .unwrap_or_default();
        if self.wishes.listen != listen {
            self.wishes.listen.clone_from(&listen);
            out.push_back(Output::Listen(listen));
        }
        let adapter = adapter(&self.party);
        if self.wishes.adapter != adapter {
            self.wishes.adapter = adapter;
            out.push_back(Output::Configure(adapter));
        }
    }
}

fn lived(party: &Party) -> Option<&Active> {
    match party {
        Party::Active(active) => Some(active),
        Party::Leaving(leaving) => match &leaving.phase {
            Phase::Saying { active, .. } => Some(active),
            Phase::Closing { .. } => None,
        },
        Party::Idle | Party::Creating(_) | Party::Joining(_) => None,
    }
}

fn host(party: &Party) -> Option<HostPlan> {
    let (home, ident) = match party {
        Party::Creating(creating) => (&creating.home, &creating.ident),
        other => lived(other).map(|active| (&active.home, &active.ident))?,
    };
    (*home == Home::Here).then_some(HostPlan {
        tag: ident.keys.tag,
        discovery: ident.keys.discovery,
    })
}

fn browse(party: &Party) -> Option<[u8; 32]> {
    match party {
        Party::Joining(joining) => Some(joining.ident.keys.discovery),
        Party::Active(active) if matches!(active.reach, Reach::Seeking(_)) && active.home != Home::Here => {
            Some(active.ident.keys.discovery)
        }
        Party::Idle | Party::Creating(_) | Party::Active(_) | Party::Leaving(_) => None,
    }
}

/// The primary UDP port, and the control plane's where the party lives here.
fn map(party: &Party, udp: u16, hosting: Option<&Hosting>) -> Option<MapPlan> {
    let Party::Active(active) = party else {
        return None;
    };
    let hosting = hosting.filter(|_| active.home == Home::Here);
    (udp != 0).then_some(MapPlan {
        udp,
        tcp: hosting.map(|hosting| hosting.port),
    })
}

fn adapter(party: &Party) -> Option<AdapterPlan> {
    lived(party).map(Active::adapter_plan)
}

fn relayed_to(party: &Party) -> BTreeMap<TransportId, BTreeSet<SocketAddr>> {
    let mut by_relay: BTreeMap<TransportId, BTreeSet<SocketAddr>> = BTreeMap::new();
    for path in lived(party)
        .into_iter()
        .flat_map(|active| active.roster.peers())
        .flat_map(|peer| peer.relayed_to())
    {
        by_relay.entry(path.transport).or_default().insert(path.remote);
    }
    by_relay
}

fn table(party: &Party, session: u64) -> Table {
    let Some(active) = lived(party) else {
        return Table::default();
    };
    Table {
        end: Some(End {
            wg_secret: active.ident.me.wg_secret(),
            slot: active.slot,
            range: active.opened.range,
        }),
        rules: active.rules,
        ready: matches!(active.adapter, Adapter::Up),
        peers: active
            .roster
            .peers()
            .map(|peer| (peer.slot(), peer.table_peer(session)))
            .collect(),
    }
}
