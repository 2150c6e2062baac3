//! A control plane that lies, and members who misuse what they know. Each lie is refused and named, no byte of an
//! application goes astray (the simulation stops if one does), and tunnels that live stay up.

use super::{LAN, Trio, chatter, ms, nothing_lost, seconds};
use lanrage_core::keys::MemberKeys;
use lanrage_core::records::{self, Record, Word};
use lanrage_proto::control::{MemberEntry, Request, Sealed, ServerMessage};
use lanrage_proto::ids::{Epoch, Version};
use lanrage_proto::ipc::{PartyState, PeerState};
use lanrage_proto::{FaultCode, MemberId, Seq, Slot, WgPublic};
use lanrage_tests::sim::{Fate, Node, Sim};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::time::Duration;

/// Long enough for a lie to be noticed and for every tunnel to suffer if it did.
const WHILE: Duration = seconds(30);

impl Trio {
    /// What the control plane last said the party's state is, one change further.
    fn next_version(&self, node: Node) -> Version {
        let mut newest = self.sim.told(node).filter_map(|message| match message {
            ServerMessage::Party { version, .. }
            | ServerMessage::Snapshot { version, .. }
            | ServerMessage::PeerJoined { version, .. }
            | ServerMessage::PeerUpdated { version, .. }
            | ServerMessage::PeerLeft { version, .. } => Some(*version),
            _ => None,
        });
        newest.next_back().unwrap().bumped()
    }

    fn founding(&self) -> Sealed {
        let party = |message: &ServerMessage| match message {
            ServerMessage::Party { founding, .. } => Some(founding.clone()),
            _ => None,
        };
        self.sim.told(self.tom).find_map(party).unwrap()
    }

    fn id_of(&self, node: Node) -> MemberId {
        self.sim.identity(node, &self.party.id)
    }

    /// How the control plane last showed `whom` to `node`, with a record.
    fn entry(&self, node: Node, whom: Node) -> MemberEntry {
        let whom = self.id_of(whom);
        let entries = |message: &ServerMessage| match message {
            ServerMessage::PeerJoined { member, .. } | ServerMessage::PeerUpdated { member, .. } => {
                vec![member.clone()]
            }
            ServerMessage::Snapshot { members, .. } => members.clone(),
            _ => Vec::new(),
        };
        let mut shown = self.sim.told(node).flat_map(entries);
        shown
            .rfind(|entry| entry.member == whom && entry.record.is_some())
            .unwrap()
    }

    /// The control plane shows `node` this entry as news.
    fn show(&mut self, node: Node, member: MemberEntry) {
        let version = self.next_version(node);
        self.sim
            .tell(node, ServerMessage::PeerUpdated { version, member });
    }

    /// What the record in an entry says.
    fn record(&self, entry: &MemberEntry) -> Record {
        let (party, _) = self.sim.keys(self.anna, &self.party.id);
        records::open_record(&party, entry.record.as_ref().unwrap()).unwrap()
    }

    /// A record as `author` would sign it, newer than all before.
    fn signed(&self, author: Node, record: &Record) -> Sealed {
        let (party, keys) = self.sim.keys(author, &self.party.id);
        records::seal_record(&party, &keys, Epoch(0), Seq::at_boot(1000), record, &mut rng()).unwrap()
    }

    /// A word as `author` would sign it.
    fn word(&self, author: Node, word: Word) -> Sealed {
        let (party, keys) = self.sim.keys(author, &self.party.id);
        let chain = records::founding_hash(&self.founding());
        records::seal_word(
            &party,
            &keys,
            Epoch(0),
            Seq::at_boot(1000),
            word,
            &chain,
            &mut rng(),
        )
        .unwrap()
    }

    /// `victim` names the lie, and for a while after it nothing is lost between any of them, nobody's row is gone.
    #[track_caller]
    fn is_named_and_harmless(&mut self, victim: Node, code: FaultCode) {
        let (all, since) = (self.all(), self.sim.elapsed());
        self.chatter(WHILE);
        self.sim.wait_condition(victim, code, seconds(15));
        self.sim.run_for(WHILE + seconds(1));
        nothing_lost(&self.sim, &all, since);
        assert!(self.sim.all_connected(&all), "{}", self.sim.table());
        // The honest party goes on: conditions end by themselves.
        self.sim.lie_no_more();
        let clear = |sim: &Sim| !sim.has_condition(victim, code);
        self.sim.run_until("condition over", seconds(90), clear);
    }
}

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::from_seed([42; 32])
}

fn flipped(mut sealed: Sealed) -> Sealed {
    let last = sealed.body.0.len() - 1;
    sealed.body.0[last / 2] ^= 1;
    sealed
}

#[test]
fn a_record_with_a_flipped_bit_is_refused() {
    let (mut trio, _) = Trio::on_server(1);
    let mut entry = trio.entry(trio.anna, trio.tom);
    entry.record = entry.record.map(flipped);
    trio.show(trio.anna, entry);
    trio.is_named_and_harmless(trio.anna, FaultCode::RecordRefused);
}

#[test]
fn a_record_put_under_anothers_name_is_refused() {
    let (mut trio, _) = Trio::on_server(2);
    // Zoe's own record with Tom's name on the entry; then even on the seal.
    for rename_the_author in [false, true] {
        let mut entry = trio.entry(trio.anna, trio.tom);
        let mut record = trio.entry(trio.anna, trio.zoe).record.unwrap();
        record.seq = Seq::at_boot(1000);
        if rename_the_author {
            record.author = entry.member;
        }
        entry.record = Some(record);
        trio.show(trio.anna, entry);
        trio.is_named_and_harmless(trio.anna, FaultCode::RecordRefused);
    }
}

#[test]
fn a_record_of_another_party_is_refused() {
    let (mut trio, server) = Trio::on_server(3);
    let url = trio.sim.url(server);
    let ben = trio.sim.player_on("ben", LAN, url);
    let other = trio.sim.create(ben, "Elsewhere");
    let (party, keys) = trio.sim.keys(ben, &other.id);
    let mut entry = trio.entry(trio.anna, trio.tom);
    let record = Record {
        wg: keys.wg_public(),
        ..trio.record(&entry)
    };
    let sealed = records::seal_record(&party, &keys, Epoch(0), Seq::at_boot(9), &record, &mut rng()).unwrap();
    entry.record = Some(sealed);
    trio.show(trio.anna, entry);
    trio.is_named_and_harmless(trio.anna, FaultCode::RecordRefused);
}

#[test]
fn a_member_who_changes_her_wireguard_key_is_named_and_keeps_her_old_one() {
    let (mut trio, _) = Trio::on_server(4);
    let mut entry = trio.entry(trio.anna, trio.zoe);
    let record = Record {
        wg: WgPublic([9; 32]),
        ..trio.record(&entry)
    };
    entry.record = Some(trio.signed(trio.zoe, &record));
    trio.show(trio.anna, entry);
    trio.is_named_and_harmless(trio.anna, FaultCode::KeyChanged);
}

#[test]
fn a_member_who_claims_anothers_wireguard_key_is_named() {
    let (mut trio, _) = Trio::on_server(5);
    let toms = trio.record(&trio.entry(trio.anna, trio.tom)).wg;
    // An insider with the party ID: a new identity, whose record carries Tom's key.
    let (party, _) = trio.sim.keys(trio.anna, &trio.party.id);
    let stranger = MemberKeys::joiner(&lanrage_core::keys::DeviceSeed::from_bytes([5; 32]), &party.tag);
    let slot = Slot::try_from(4).unwrap();
    let record = Record {
        wg: toms,
        seal: stranger.seal_public(),
        slot,
        ..trio.record(&trio.entry(trio.anna, trio.tom))
    };
    let sealed =
        records::seal_record(&party, &stranger, Epoch(0), Seq::at_boot(1), &record, &mut rng()).unwrap();
    let member = MemberEntry {
        member: stranger.id(),
        slot,
        online: true,
        record: Some(sealed),
    };
    let version = trio.next_version(trio.anna);
    let (all, since) = (trio.all(), trio.sim.elapsed());
    trio.chatter(WHILE);
    trio.sim
        .tell(trio.anna, ServerMessage::PeerJoined { version, member });
    trio.sim
        .wait_condition(trio.anna, FaultCode::KeyChanged, seconds(15));
    trio.sim.run_for(WHILE + seconds(1));
    nothing_lost(&trio.sim, &all, since);
}

#[test]
fn two_members_shown_with_one_lease_are_named() {
    let (mut trio, _) = Trio::on_server(6);
    let toms = trio.entry(trio.anna, trio.tom);
    let zoes = trio.entry(trio.anna, trio.zoe);
    // The control plane deals Zoe the slot that Tom has, whatever she signed.
    trio.show(
        trio.anna,
        MemberEntry {
            slot: toms.slot,
            ..zoes.clone()
        },
    );
    trio.is_named_and_harmless(trio.anna, FaultCode::LeaseClash);
    // And Zoe is in league with it and signs Tom's slot.
    let record = Record {
        slot: toms.slot,
        ..trio.record(&zoes)
    };
    let record = Some(trio.signed(trio.zoe, &record));
    trio.show(
        trio.anna,
        MemberEntry {
            slot: toms.slot,
            record: record.clone(),
            ..zoes.clone()
        },
    );
    trio.is_named_and_harmless(trio.anna, FaultCode::LeaseClash);
    trio.show(trio.anna, MemberEntry { record, ..zoes });
    trio.is_named_and_harmless(trio.anna, FaultCode::LeaseClash);
}

#[test]
fn a_newcomer_in_an_occupied_place_gets_no_tunnel() {
    let (mut trio, _) = Trio::on_server(7);
    let toms = trio.entry(trio.anna, trio.tom);
    let (party, _) = trio.sim.keys(trio.anna, &trio.party.id);
    let stranger = MemberKeys::joiner(&lanrage_core::keys::DeviceSeed::from_bytes([5; 32]), &party.tag);
    let record = Record {
        wg: stranger.wg_public(),
        seal: stranger.seal_public(),
        ..trio.record(&toms)
    };
    let sealed =
        records::seal_record(&party, &stranger, Epoch(0), Seq::at_boot(1), &record, &mut rng()).unwrap();
    let member = MemberEntry {
        member: stranger.id(),
        record: Some(sealed),
        ..toms
    };
    let version = trio.next_version(trio.anna);
    trio.sim
        .tell(trio.anna, ServerMessage::PeerJoined { version, member });
    trio.is_named_and_harmless(trio.anna, FaultCode::LeaseClash);
}

#[test]
fn a_replayed_older_record_is_refused() {
    let (mut trio, _) = Trio::on_server(8);
    let old = trio.entry(trio.anna, trio.tom);
    trio.sim.crash(trio.tom);
    trio.sim.run_for(seconds(1));
    trio.sim.restart(trio.tom);
    let all = trio.all();
    trio.sim.wait_connected(&all, seconds(5));
    // The tunnels are back before the new record is there.
    trio.sim.run_for(seconds(1));
    let new = trio.entry(trio.anna, trio.tom);
    assert!(new.record.as_ref().unwrap().seq > old.record.as_ref().unwrap().seq);
    trio.show(trio.anna, old);
    trio.is_named_and_harmless(trio.anna, FaultCode::RecordReplayed);
}

#[test]
fn an_older_record_is_refused_even_by_an_engine_that_restarted_since() {
    let (mut trio, _) = Trio::on_server(9);
    let old = trio.entry(trio.anna, trio.tom);
    trio.sim.crash(trio.tom);
    trio.sim.run_for(seconds(1));
    trio.sim.restart(trio.tom);
    let all = trio.all();
    trio.sim.wait_connected(&all, seconds(5));
    trio.sim.run_for(seconds(5));
    trio.sim.crash(trio.anna);
    trio.sim.restart(trio.anna);
    trio.sim.wait_connected(&all, seconds(5));
    trio.show(trio.anna, old);
    trio.is_named_and_harmless(trio.anna, FaultCode::RecordReplayed);
}

/// A trio, and a signal from Tom to Anna: the way between them was cut when they met.
fn trio_with_signals(seed: u64) -> (Trio, Sealed) {
    let mut sim = Sim::new(seed);
    let server = sim.server("server", LAN);
    let url = sim.url(server);
    let [anna, tom, zoe] = ["anna", "tom", "zoe"].map(|name| sim.player_on(name, LAN, url.clone()));
    sim.cut(anna, tom);
    let party = sim.create(anna, "Friday night");
    sim.join(tom, &party.invite);
    sim.join(zoe, &party.invite);
    sim.run_for(seconds(4));
    sim.mend(anna, tom);
    sim.wait_connected(&[anna, tom, zoe], seconds(20));
    let trio = Trio {
        sim,
        anna,
        tom,
        zoe,
        party,
    };
    let toms = trio.id_of(tom);
    let toms_signal = |message: &ServerMessage| match message {
        ServerMessage::Signal { signal } if signal.author == toms => Some(signal.clone()),
        _ => None,
    };
    let signal = trio.sim.told(anna).rev().find_map(toms_signal);
    let signal = signal.expect("Tom never called Anna");
    (trio, signal)
}

#[test]
fn a_replayed_signal_is_refused() {
    let (mut trio, signal) = trio_with_signals(10);
    let node = trio.anna;
    trio.sim.tell(node, ServerMessage::Signal { signal });
    trio.is_named_and_harmless(node, FaultCode::SignalRefused);
}

#[test]
fn an_altered_signal_is_refused() {
    let (mut trio, signal) = trio_with_signals(11);
    let node = trio.anna;
    let signal = Sealed {
        seq: Seq(signal.seq.0 + 1000),
        ..signal
    };
    trio.sim.tell(
        node,
        ServerMessage::Signal {
            signal: signal.clone(),
        },
    );
    trio.is_named_and_harmless(node, FaultCode::SignalRefused);
    trio.sim.tell(
        node,
        ServerMessage::Signal {
            signal: flipped(signal),
        },
    );
    trio.is_named_and_harmless(node, FaultCode::SignalRefused);
}

#[test]
fn a_signal_for_somebody_else_is_refused() {
    let (mut trio, signal) = trio_with_signals(12);
    // To a third member, and back to its author.
    for node in [trio.zoe, trio.tom] {
        let signal = signal.clone();
        trio.sim.tell(node, ServerMessage::Signal { signal });
        trio.is_named_and_harmless(node, FaultCode::SignalRefused);
    }
}

#[test]
fn a_party_is_not_ended_without_its_hosts_word() {
    let (mut trio, _) = Trio::on_server(13);
    trio.sim
        .tell(trio.tom, ServerMessage::PartyDissolved { statement: None });
    trio.is_named_and_harmless(trio.tom, FaultCode::DissolveRefused);
}

#[test]
fn a_party_is_not_ended_by_anybody_elses_word() {
    let (mut trio, _) = Trio::on_server(14);
    let zoes = trio.word(trio.zoe, Word::Dissolve);
    let hosts_name_on_it = Sealed {
        author: trio.id_of(trio.anna),
        ..zoes.clone()
    };
    let hosts_other_word = trio.word(trio.anna, Word::Leave);
    let damaged = flipped(trio.word(trio.anna, Word::Dissolve));
    for statement in [zoes, hosts_name_on_it, hosts_other_word, damaged] {
        trio.sim.tell(
            trio.tom,
            ServerMessage::PartyDissolved {
                statement: Some(statement),
            },
        );
        trio.is_named_and_harmless(trio.tom, FaultCode::DissolveRefused);
    }
}

#[test]
fn the_word_that_ends_another_party_ends_only_that() {
    let (mut trio, server) = Trio::on_server(15);
    let url = trio.sim.url(server);
    let ben = trio.sim.player_on("ben", LAN, url);
    let other = trio.sim.create(ben, "Elsewhere");
    let (party, keys) = trio.sim.keys(ben, &other.id);
    let chain = records::founding_hash(&trio.founding());
    let word = records::seal_word(
        &party,
        &keys,
        Epoch(0),
        Seq::at_boot(2),
        Word::Dissolve,
        &chain,
        &mut rng(),
    )
    .unwrap();
    trio.sim.tell(
        trio.tom,
        ServerMessage::PartyDissolved {
            statement: Some(word),
        },
    );
    trio.is_named_and_harmless(trio.tom, FaultCode::DissolveRefused);
}

#[test]
fn a_friend_whose_tunnel_lives_is_not_removed_without_her_word() {
    let (mut trio, _) = Trio::on_server(16);
    let (version, member) = (trio.next_version(trio.tom), trio.id_of(trio.zoe));
    trio.sim.tell(
        trio.tom,
        ServerMessage::PeerLeft {
            version,
            member,
            statement: None,
        },
    );
    trio.is_named_and_harmless(trio.tom, FaultCode::LeaveRefused);
}

#[test]
fn a_friend_is_not_removed_by_anybody_elses_word() {
    let (mut trio, _) = Trio::on_server(17);
    let member = trio.id_of(trio.zoe);
    let toms = trio.word(trio.tom, Word::Leave);
    let renamed = Sealed {
        author: member,
        ..toms.clone()
    };
    let damaged = flipped(trio.word(trio.zoe, Word::Leave));
    for statement in [toms, renamed, damaged] {
        let version = trio.next_version(trio.tom);
        trio.sim.tell(
            trio.tom,
            ServerMessage::PeerLeft {
                version,
                member,
                statement: Some(statement),
            },
        );
        trio.is_named_and_harmless(trio.tom, FaultCode::LeaveRefused);
    }
}

#[test]
fn a_leave_said_before_a_return_does_not_remove_who_came_back() {
    let (mut trio, _) = Trio::on_server(18);
    trio.sim.leave(trio.zoe);
    trio.sim.run_for(seconds(2));
    let left = |message: &ServerMessage| match message {
        ServerMessage::PeerLeft {
            statement: Some(statement),
            ..
        } => Some(statement.clone()),
        _ => None,
    };
    let old = trio
        .sim
        .told(trio.tom)
        .find_map(left)
        .expect("no leave was passed on");
    trio.sim.join(trio.zoe, &trio.party.invite);
    let all = trio.all();
    trio.sim.wait_connected(&all, seconds(5));
    let (version, member) = (trio.next_version(trio.tom), trio.id_of(trio.zoe));
    trio.sim.tell(
        trio.tom,
        ServerMessage::PeerLeft {
            version,
            member,
            statement: Some(old),
        },
    );
    trio.is_named_and_harmless(trio.tom, FaultCode::LeaveRefused);
}

#[test]
fn a_friend_left_out_of_a_snapshot_keeps_her_tunnel() {
    let (mut trio, _) = Trio::on_server(19);
    let zoe = trio.id_of(trio.zoe);
    let tom = trio.tom;
    trio.sim.lie(move |to, frame| {
        if let ServerMessage::Snapshot { members, .. } = &mut frame.message
            && to == tom
        {
            members.retain(|entry| entry.member != zoe);
        }
        Fate::Pass
    });
    // A new connection brings a new snapshot.
    trio.sim.break_control(trio.tom);
    trio.is_named_and_harmless(trio.tom, FaultCode::LeaveRefused);
}

#[test]
fn a_control_plane_that_shows_two_worlds_is_named() {
    let mut sim = Sim::new(20);
    let server = sim.server("server", LAN);
    let url = sim.url(server);
    let [anna, tom, zoe] = ["anna", "tom", "zoe"].map(|name| sim.player_on(name, LAN, url.clone()));
    let party = sim.create(anna, "Friday night");
    sim.join(tom, &party.invite);
    sim.wait_connected(&[anna, tom], seconds(3));
    // Whoever comes from now on is hidden from Tom.
    let known = [anna, tom].map(|node| sim.identity(node, &party.id));
    sim.lie(move |to, frame| {
        let hidden = |member: &MemberId| to == tom && !known.contains(member);
        match &mut frame.message {
            ServerMessage::Snapshot { members, .. } => members.retain(|entry| !hidden(&entry.member)),
            ServerMessage::PeerJoined { member, .. } | ServerMessage::PeerUpdated { member, .. }
                if hidden(&member.member) =>
            {
                return Fate::Drop;
            }
            ServerMessage::Signal { signal } if hidden(&signal.author) => return Fate::Drop,
            _ => {}
        }
        Fate::Pass
    });
    sim.join(zoe, &party.invite);
    let since = sim.elapsed();
    chatter(&mut sim, &[anna, tom], ms(200), seconds(40));
    sim.wait_condition(tom, FaultCode::ViewsDiffer, seconds(20));
    sim.wait_condition(anna, FaultCode::ViewsDiffer, seconds(5));
    assert!(sim.elapsed() - since >= seconds(10), "too soon to know");
    sim.run_for(seconds(30));
    nothing_lost(&sim, &[anna, tom], since);
    assert_eq!(sim.peer(anna, zoe), Some(PeerState::Connected));
    assert_eq!(sim.row(tom, zoe), None);
    // The truth clears it.
    sim.lie_no_more();
    sim.break_control(tom);
    sim.wait_connected(&[anna, tom, zoe], seconds(30));
    sim.run_until("conditions over", seconds(30), |sim| {
        [anna, tom, zoe]
            .iter()
            .all(|node| !sim.has_condition(*node, FaultCode::ViewsDiffer))
    });
}

#[test]
fn an_honest_party_never_names_two_worlds() {
    let (mut trio, server) = Trio::on_server(21);
    let url = trio.sim.url(server);
    let mut later = Vec::new();
    for name in ["ben", "cleo", "dan"] {
        let node = trio.sim.player_on(name, LAN, url.clone());
        trio.sim.join(node, &trio.party.invite);
        trio.sim.run_for(seconds(7));
        later.push(node);
    }
    trio.sim.crash(trio.tom);
    trio.sim.run_for(seconds(20));
    trio.sim.restart(trio.tom);
    trio.sim.run_for(seconds(20));
    trio.sim.leave(later[0]);
    trio.sim.run_for(seconds(20));
    let named = trio.sim.transcript.text();
    assert!(!named.contains("views_differ"), "{named}");
    assert!(!named.contains("refused"), "{named}");
}

#[test]
fn a_party_with_another_founding_is_not_entered() {
    let (mut trio, server) = Trio::on_server(22);
    let url = trio.sim.url(server);
    let ben = trio.sim.player_on("ben", LAN, url.clone());
    let other = trio.sim.player_on("eve", LAN, url);
    trio.sim.create(other, "A trap");
    let trap = trio.sim.told(other).find_map(|message| match message {
        ServerMessage::Party { founding, .. } => Some(founding.clone()),
        _ => None,
    });
    let trap = trap.unwrap();
    let honest = trio.founding();
    for fake in [trap, flipped(honest)] {
        trio.sim.lie(move |to, frame| {
            if let ServerMessage::Party { founding, .. } = &mut frame.message
                && to == ben
            {
                *founding = fake.clone();
            }
            Fate::Pass
        });
        let refused = trio.sim.try_join(ben, &trio.party.id).unwrap_err();
        assert_eq!(refused.code, FaultCode::FoundingRefused);
        assert_eq!(trio.sim.party(ben), None);
    }
    trio.sim.lie_no_more();
    trio.sim.join(ben, &trio.party.id);
}

#[test]
fn a_control_plane_that_deals_another_lease_on_return_is_named() {
    let (mut trio, _) = Trio::on_server(23);
    let (tom, all, addresses) = (trio.tom, trio.all(), trio.addresses());
    trio.sim.lie(move |to, frame| {
        if let ServerMessage::Party { slot: Some(slot), .. } = &mut frame.message
            && to == tom
        {
            *slot = Slot::try_from(9).unwrap();
        }
        Fate::Pass
    });
    let since = trio.sim.elapsed();
    trio.chatter(seconds(20));
    trio.sim.break_control(tom);
    trio.sim.wait_condition(tom, FaultCode::LeaseClash, seconds(10));
    trio.sim.run_for(seconds(15));
    assert_eq!(trio.addresses(), addresses);
    nothing_lost(&trio.sim, &all, since);
}

#[test]
fn a_control_plane_that_swallows_everything_costs_no_packet() {
    let (mut trio, _) = Trio::on_server(24);
    let (all, since) = (trio.all(), trio.sim.elapsed());
    trio.sim.lie(|_, _| Fate::Drop);
    trio.chatter(seconds(180));
    trio.sim.run_for(seconds(181));
    nothing_lost(&trio.sim, &all, since);
    assert_eq!(trio.sim.state(trio.tom), Some(PartyState::Rejoining));
    trio.sim.lie_no_more();
    trio.sim.wait_connected(&all, seconds(30));
}

#[test]
fn a_forged_record_gets_nobody_else_into_trouble() {
    let (mut trio, _) = Trio::on_server(25);
    // Zoe publishes a record in which she sits in Anna's place.
    let (party, keys) = trio.sim.keys(trio.zoe, &trio.party.id);
    let zoe = trio.zoe;
    trio.sim.forge(move |from, frame| {
        if let Request::UpdatePeer { record } = &mut frame.request
            && from == zoe
        {
            let mut said = records::open_record(&party, record).unwrap();
            said.slot = Slot::FOUNDER;
            *record =
                records::seal_record(&party, &keys, record.epoch, record.seq, &said, &mut rng()).unwrap();
        }
        Fate::Pass
    });
    trio.sim.crash(trio.zoe);
    trio.sim.restart(trio.zoe);
    let since = trio.sim.elapsed();
    chatter(&mut trio.sim, &[trio.anna, trio.tom], ms(200), seconds(20));
    trio.sim
        .wait_condition(trio.tom, FaultCode::LeaseClash, seconds(10));
    trio.sim.run_for(seconds(20));
    nothing_lost(&trio.sim, &[trio.anna, trio.tom], since);
    assert_eq!(trio.sim.row(trio.tom, trio.anna).unwrap().address, "10.66.0.1");
}
