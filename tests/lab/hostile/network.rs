//! Networks that are in the way, and servers that are of another version or lie.

use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use lanrage_tests::lab::{Control, Engine, Host, Party, Server, felt, scenario};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{self, Message};

use super::{engine, nothing_left, options, refusal_of};

#[test]
fn a_network_that_has_the_partys_addresses_is_named() -> Result<()> {
    scenario("address clash", |lab| {
        let mut engine = engine(lab)?;
        for network in ["10.66.0.0/16", "10.66.1.0/24", "10.66.0.7/32", "10.0.0.0/8"] {
            let route = |verb: &str| {
                engine
                    .host()
                    .output("ip", &["route", verb, network, "dev", "eth0"])
            };
            route("add")?;
            for arguments in [
                &["create", "Friday night"][..],
                &["join", "K7QF-9M2X-RT4B-W8HD-5NC7"],
            ] {
                let refusal = engine.refuses(arguments, &[], "address_clash")?;
                ensure!(
                    refusal.message.contains(network.trim_end_matches("/32"))
                        && refusal.message.contains("eth0"),
                    "{}",
                    refusal.message
                );
            }
            route("del")?;
        }
        nothing_left(&mut engine)?;
        engine.cli(&["create", "Friday night"])?;
        Ok(())
    })
}

#[test]
fn a_network_that_comes_in_mid_party_is_a_condition_until_it_goes() -> Result<()> {
    scenario("clash in mid-party", |lab| {
        let party = Party::start(lab, 2, Control::Local)?;
        let member = party.engine(1)?;
        for network in ["10.66.1.0/24", "10.66.0.0/16"] {
            // Behind the adapter's own route where both lead to the same addresses.
            let route = ["route", "add", network, "dev", "eth0", "metric", "500"];
            member.host().output("ip", &route)?;
            member.wait_until("the clash is shown", felt::TOLD, |status| {
                ensure!(!status.is_idle(), "the party is over: {}", status.summary());
                Ok(status.has_condition("address_clash"))
            })?;
            let said = member.say(&["status"])?;
            let told = said
                .lines()
                .find(|line| line.starts_with('!'))
                .unwrap_or_default();
            ensure!(
                told.contains(network) && told.contains("eth0") && !told.contains(['{', '?']),
                "{said}"
            );
            party.ping_all_pairs()?;
            member
                .host()
                .output("ip", &["route", "del", network, "dev", "eth0"])?;
            member.wait_until("the clash is over", felt::TOLD, |status| {
                Ok(!status.has_condition("address_clash"))
            })?;
        }
        party.ping_all_pairs()
    })
}

#[test]
fn a_server_of_another_version_is_named_with_both_versions() -> Result<()> {
    scenario("server of another version", |lab| {
        let answer = json!({"type": "version_unsupported", "versions": {"min": 7, "max": 9}});
        let server = liar(&lab.host()?, move |_| Lie::Answer(answer.clone()))?;
        let mut engine = Engine::start(&lab.host()?, options(&format!("ws://{server}")))?;
        let refusal = engine.refuses(&["create", "Friday night"], &[], "version_unsupported")?;
        ensure!(
            refusal.message.contains("7 to 9") && refusal.message.contains("speaks 1"),
            "{}",
            refusal.message
        );
        let joining = refusal_of(&engine, &["join", "K7QF-9M2X-RT4B-W8HD-5NC7"])?;
        ensure!(joining.message == refusal.message, "{joining}");
        nothing_left(&mut engine)
    })
}

#[test]
fn a_client_of_another_version_is_told_ours() -> Result<()> {
    scenario("client of another version", |lab| {
        let mut server = Server::start(&lab.host()?)?;
        let address = server.address();
        let answer = lab.host()?.inside(|| {
            let stream = std::net::TcpStream::connect(address)?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            let (mut socket, _) = tungstenite::client(format!("ws://{address}/v1/party"), stream)?;
            let hello = json!({
                "id": 1, "type": "hello", "versions": {"min": 7, "max": 9}, "authority": address.to_string(),
                "tag": "A".repeat(43), "news": [1, 2, 3],
            });
            socket.send(Message::text(hello.to_string()))?;
            Ok(serde_json::from_str::<Value>(socket.read()?.to_text()?)?)
        })?;
        ensure!(
            answer["type"] == "version_unsupported" && answer["versions"]["max"] == 1,
            "{answer}"
        );
        server.unharmed()
    })
}

#[test]
fn a_server_can_not_make_a_player_harm_the_own_computer() -> Result<()> {
    scenario("lying server", |lab| {
        // A player who believed this would delete the key file.
        let seed = json!({"type": "fault", "code": "seed_damaged"});
        let full = json!({"type": "fault", "code": "party_full"});
        let lies: Vec<(Lie, &str)> = vec![
            (Lie::Answer(seed), "control_malformed"),
            (Lie::Answer(full), "party_full"),
            (
                Lie::Answer(json!({"type": "fault", "code": "internal"})),
                "internal",
            ),
            (Lie::Answer(json!({"type": "done"})), "control_malformed"),
            (Lie::Answer(json!({"type": "rm -rf"})), "control_malformed"),
            (Lie::Raw(Message::text("[".repeat(60_000))), "control_malformed"),
            (Lie::Raw(Message::text("x".repeat(200_000))), "control_malformed"),
            (Lie::Raw(Message::binary(vec![0; 1000])), "control_malformed"),
        ];
        for (lie, code) in lies {
            let server = liar(&lab.host()?, move |_| lie.clone())?;
            let mut engine = Engine::start(&lab.host()?, options(&format!("ws://{server}")))?;
            let exit = if code == "internal" { 1 } else { 4 };
            let refusal = refusal_of(&engine, &["create", "Friday night"])?;
            println!("{}", refusal.printed.trim());
            ensure!(
                refusal.fault.as_deref() == Some(code) && refusal.exit == Some(exit),
                "expected {code}: {refusal}"
            );
            ensure!(!refusal.printed.contains('?'), "{refusal}");
            nothing_left(&mut engine)?;
        }
        Ok(())
    })
}

/// What a lying server says.
#[derive(Clone, Debug)]
enum Lie {
    /// In answer to a request.
    Answer(Value),
    /// As it is.
    Raw(Message),
}

/// A server in a host that answers each frame as `lie` says. Serves until the test's process ends.
fn liar(host: &Host, lie: impl Fn(&Value) -> Lie + Clone + Send + 'static) -> Result<SocketAddr> {
    let listener = host.inside(|| Ok(TcpListener::bind((host.address(), 7700))?))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let lie = lie.clone();
            thread::spawn(move || {
                let Ok(mut socket) = tungstenite::accept(stream) else {
                    return;
                };
                while let Ok(message) = socket.read() {
                    let Ok(request) = serde_json::from_str::<Value>(message.to_text().unwrap_or_default())
                    else {
                        continue;
                    };
                    let said = match lie(&request) {
                        Lie::Answer(mut answer) => {
                            answer["re"] = request["id"].clone();
                            Message::text(answer.to_string())
                        }
                        Lie::Raw(message) => message,
                    };
                    if socket.send(said).is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(address)
}
