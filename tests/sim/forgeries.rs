//! Forged records and stolen places: whoever passes them on, they are refused and named, no byte of an application
//! goes astray (the simulation stops if one does), and tunnels that live stay up.

use super::liar::{WHILE, flipped, rng};
use super::{LAN, Trio, chatter, ms, nothing_lost, seconds};
use lanrage_core::keys::MemberKeys;
use lanrage_core::records::{self, Record};
use lanrage_proto::control::{MemberEntry, Request, ServerMessage};
use lanrage_proto::ids::Epoch;
use lanrage_proto::{FaultCode, Seq, Slot, WgPublic};
use lanrage_tests::sim::Fate;

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
