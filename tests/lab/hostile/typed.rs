//! What players type, paste and click.

use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use lanrage_proto::PartyId;
use lanrage_tests::lab::{Control, Engine, Party, Server, felt, scenario};

use super::{engine, nothing_left, options, refusal_of, refused};

#[test]
fn mistyped_ids_and_damaged_invites_are_named() -> Result<()> {
    scenario("mistyped", |lab| {
        let mut engine = engine(lab)?;
        let long = "K7QF-9M2X-".repeat(1000);
        let link = |rest: &str| format!("lanrage://join/{}?{rest}", good_id());
        let (loopback, group, public, nonsense) = (
            link("via=127.0.0.1:51820"),
            link("via=224.0.0.1:51820"),
            link("server=ws://203.0.113.7:443"),
            link("via=%zz"),
        );
        let many = link(&format!("via={}", ["192.168.1.5:51820"; 9].join(",")));
        let mut wrong = good_id().into_bytes();
        wrong[0] = if wrong[0] == b'A' { b'B' } else { b'A' };
        let wrong = String::from_utf8(wrong)?;
        refused(
            &mut engine,
            &[
                (&["join", &wrong], "party_id_invalid"),
                (&["join", ""], "party_id_invalid"),
                (&["join", "hello"], "party_id_invalid"),
                (&["join", "K7QF-9M2X-RT4B-W8HD"], "party_id_invalid"),
                (&["join", "K7QF-9M2X-RT4B-W8HD-5NU7"], "party_id_invalid"),
                (&["join", &long], "party_id_invalid"),
                (&["join", "lanrage://join/"], "party_id_invalid"),
                (&["join", &loopback], "invite_invalid"),
                (&["join", &group], "invite_invalid"),
                (&["join", &public], "invite_invalid"),
                (&["join", &nonsense], "invite_invalid"),
                (&["join", &many], "invite_invalid"),
                (&["leave"], "not_in_party"),
            ],
        )?;
        // What a pipe may bring: bytes that are no text, a flood, nothing.
        let flood = vec![b'x'; 2_000_000];
        for input in [&b"\xff\xfe\x00\x80"[..], &flood, b""] {
            engine.refuses(&["join", "-"], input, "party_id_invalid")?;
        }
        nothing_left(&mut engine)
    })
}

#[test]
fn names_that_can_not_be_are_named() -> Result<()> {
    scenario("names", |lab| {
        let mut engine = engine(lab)?;
        let long = "x".repeat(200);
        let bad = [
            "",
            "   ",
            long.as_str(),
            "a\u{7}b",
            "a\nb",
            "\u{1b}[2Jx",
            // Reorders what stands behind it, hides, shows nothing at all.
            "a\u{202e}b",
            "a\u{61c}b",
            "\u{200b}",
            "\u{3164}",
            "\u{200d}",
        ];
        for name in bad {
            refused(
                &mut engine,
                &[
                    (&["create", name], "party_name_invalid"),
                    (&["create", "Friday night", "--name", name], "name_invalid"),
                    (&["join", &good_id(), "--name", name], "name_invalid"),
                ],
            )?;
        }
        // An argument that is no text at all is wrong usage.
        let status = Command::new(engine.program())
            .arg("create")
            .arg(std::ffi::OsStr::from_bytes(b"a\xff"))
            .arg("--socket")
            .arg(engine.socket())
            .output()?
            .status;
        ensure!(status.code() == Some(2), "{status}");
        nothing_left(&mut engine)
    })
}

#[test]
fn parties_that_can_not_be_joined_are_told_apart() -> Result<()> {
    scenario("not to be joined", |lab| {
        let server = Server::start_with(&lab.host()?, &["--members", "2"])?;
        let mut engines: Vec<Engine> = (0..3)
            .map(|_| Engine::start(&lab.host()?, options(&server.url())))
            .collect::<Result<_>>()?;
        let created = engines[0].cli(&["create", "Friday night"])?;
        let id = created["id"].as_str().context("no ID")?.to_owned();
        engines[1].cli(&["join", &id])?;
        for (id, code) in [(&good_id(), "party_unknown"), (&id, "party_full")] {
            let refusal = refusal_of(&engines[2], &["join", id])?;
            ensure!(
                refusal.fault.as_deref() == Some(code) && refusal.exit == Some(4),
                "{refusal}"
            );
        }
        // A member is not thrown out by asking for another party.
        engines[1].refuses(&["join", &good_id()], &[], "already_in_party")?;
        engines[1].refuses(&["create", "Saturday"], &[], "already_in_party")?;
        engines[1].wait_all_up(1, felt::CONNECT)?;

        engines[0].cli(&["leave"])?;
        refused(&mut engines[2], &[(&["join", &id], "party_ended")])?;
        refused(&mut engines[0], &[(&["join", &id], "party_ended")])
    })
}

#[test]
fn without_a_server_parties_that_can_not_be_joined_are_told_apart() -> Result<()> {
    scenario("not to be joined, local", |lab| {
        let mut party = Party::gather(lab, 2, Control::Local)?;
        party.create()?;
        // The invite leads to an engine that hosts another party.
        let elsewhere = party.invite.replace(&party.id, &good_id());
        refused(party.engine_mut(1)?, &[(&["join", &elsewhere], "party_unknown")])?;
        party.founder()?.cli(&["leave"])?;
        nothing_left(party.engine_mut(0)?)
    })
}

/// A good ID of a party that nobody has.
fn good_id() -> String {
    // One of the 32 check symbols fits.
    "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
        .chars()
        .map(|check| format!("K7QF-9M2X-RT4B-W8HD-5NC{check}"))
        .find(|id| PartyId::parse(id).is_ok())
        .unwrap_or_default()
}
