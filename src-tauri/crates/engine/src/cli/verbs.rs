//! The verbs that speak to an engine.

use super::args::{Create, Join, Kind, Verb, Verbose};
use super::client::Client;
use super::{Failure, diagnosis, lobby, outside, show, text};
use crate::settings::Switch;
use lanrage_proto::doctor::{FamilyReport, MappingState, Report, Unproven};
use lanrage_proto::ipc::{Call, Reply, Status};
use lanrage_proto::limits::INVITE_TEXT;
use lanrage_proto::lobby::RulesChange;
use lanrage_proto::{Fault, FaultCode};
use std::io::Read;
use std::time::{Duration, Instant};

/// How long a player who created a party is kept waiting for who gets in.
const SETTLING: Duration = Duration::from_secs(6);
/// How often that is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Carries a verb out; whether its failure should be printed as JSON comes along.
pub(super) fn main(verb: Verb) -> (bool, Result<(), Failure>) {
    let json = match &verb {
        Verb::Run(_) | Verb::Restore(_) => false,
        Verb::Create(create) => create.common.json,
        Verb::Join(join) => join.common.json,
        Verb::Share(share) => share.common.json,
        Verb::Carry(carry) => carry.common.json,
        Verb::Leave(common) | Verb::Status(common) | Verb::Watch(common) | Verb::Doctor(common) => {
            common.json
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(carry_out(verb)),
        Err(error) => Err(Failure::internal(error)),
    };
    (json, result)
}

async fn carry_out(verb: Verb) -> Result<(), Failure> {
    match verb {
        Verb::Create(create) => found(create).await,
        Verb::Join(join_) => join(join_).await,
        Verb::Leave(common) => leave(common).await,
        Verb::Share(verb) => {
            let share = Some(verb.what.into());
            let change = RulesChange {
                share,
                ..RulesChange::default()
            };
            rules(verb.common, change).await
        }
        Verb::Carry(verb) => rules(verb.common, carried(verb.what, verb.switch)).await,
        Verb::Status(common) => status(common).await,
        Verb::Watch(common) => watch(common).await,
        Verb::Doctor(common) => doctor(common).await,
        Verb::Run(_) | Verb::Restore(_) => Err(Failure::internal("it is no request to an engine")),
    }
}

async fn found(create: Create) -> Result<(), Failure> {
    let mut client = Client::connect(create.common.socket.as_deref()).await?;
    let call = Call::Create {
        party: create.party,
        player: create.name,
    };
    let Reply::Created(created) = client.ask(call).await? else {
        return Err(unexpected());
    };
    tell_fallback(&mut client).await;
    if create.common.json {
        return show::json(&created);
    }
    show::line(&format!(
        "“{}” is open. Your address in it is {}.",
        created.party, created.address
    ))?;
    let invite = shareable(&mut client, &created.invite).await?;
    show::line(&format!("Send this to your friends:\n\n  {invite}\n"))?;
    if invite.contains("server=") {
        show::line(&format!(
            "Friends with the same server need only the ID: {}",
            created.id
        ))?;
    } else if invite != created.id {
        show::line(&format!(
            "On your own network the ID alone is enough: {}",
            created.id
        ))?;
    }
    Ok(())
}

/// The invite when it is known whether friends elsewhere get in by it, which takes a moment; if they don't, that is said.
async fn shareable(client: &mut Client, created: &str) -> Result<String, Failure> {
    if created.contains("server=") {
        return Ok(created.to_owned());
    }
    let began = Instant::now();
    loop {
        let Reply::Doctor(report) = client.ask(Call::Doctor).await? else {
            return Err(unexpected());
        };
        if is_settled(&report) || began.elapsed() >= SETTLING {
            let unreachable = |fault: &&Fault| fault.code == FaultCode::HostUnreachable;
            if let Some(fault) = report.findings.iter().find(unreachable) {
                show::error(&text::sentences(fault));
            }
            break;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let Reply::Status(status) = client.ask(Call::Status).await? else {
        return Err(unexpected());
    };
    let invite = status.party.and_then(|party| party.invite);
    Ok(invite.unwrap_or_else(|| created.to_owned()))
}

/// Whether no more is to be expected about who gets in.
fn is_settled(report: &Report) -> bool {
    let known = report
        .hosting
        .as_ref()
        .is_none_or(|hosting| hosting.reachable.is_some());
    let finding = |family: &FamilyReport| {
        matches!(family.reason, Some(Unproven::InProgress))
            || family.address && family.reason == Some(Unproven::Untried)
    };
    let asking = matches!(report.mapping.state, MappingState::Idle | MappingState::Asking);
    known || !(asking || finding(&report.ipv4) || finding(&report.ipv6))
}

/// A player who set a server should know at once that the party is not on it.
async fn tell_fallback(client: &mut Client) {
    let Ok(Reply::Status(status)) = client.ask(Call::Status).await else {
        return;
    };
    for fault in status
        .conditions
        .iter()
        .filter(|fault| fault.code == FaultCode::LocalFallback)
    {
        show::error(&text::sentences(fault));
    }
}

async fn join(join: Join) -> Result<(), Failure> {
    let text = if join.text == "-" {
        from_standard_input()?
    } else {
        join.text
    };
    let mut client = Client::connect(join.common.socket.as_deref()).await?;
    let call = Call::Join {
        text,
        player: join.name,
    };
    let Reply::Joined(joined) = client.ask(call).await? else {
        return Err(unexpected());
    };
    if join.common.json {
        return show::json(&joined);
    }
    show::line(&format!(
        "You are in “{}”. Your address in it is {}.",
        joined.party, joined.address
    ))
}

/// One byte more than an invite's text may have, so that the engine sees that it is too long.
fn from_standard_input() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .take(INVITE_TEXT as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::internal(format!("standard input can't be read: {error}")))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// One kind of announce switched on or off.
fn carried(kind: Kind, switch: Switch) -> RulesChange {
    let carry = Some(switch == Switch::On);
    let mut change = RulesChange::default();
    match kind {
        Kind::Dhcp => change.dhcp = carry,
        Kind::Mdns => change.mdns = carry,
        Kind::Ssdp => change.ssdp = carry,
        Kind::Netbios => change.netbios = carry,
        Kind::Multicast => change.multicast = carry,
    }
    change
}

/// Changes what friends may reach here or what is carried, and says what holds.
async fn rules(common: Verbose, change: RulesChange) -> Result<(), Failure> {
    let mut client = Client::connect(common.socket.as_deref()).await?;
    client.ask(Call::Rules { change }).await?;
    let Reply::Status(status) = client.ask(Call::Status).await? else {
        return Err(unexpected());
    };
    let rules = status.party.map(|party| party.rules).unwrap_or_default();
    if common.json {
        return show::json(&rules);
    }
    lobby::rules(&rules).iter().try_for_each(|line| show::line(line))
}

async fn leave(common: Verbose) -> Result<(), Failure> {
    let mut client = Client::connect(common.socket.as_deref()).await?;
    client.ask(Call::Leave).await?;
    if common.json {
        return show::json(&serde_json::json!({}));
    }
    show::line("You left. Nothing of the party is left on this computer.")
}

async fn status(common: Verbose) -> Result<(), Failure> {
    let mut client = Client::connect(common.socket.as_deref()).await?;
    let Reply::Status(status) = client.ask(Call::Status).await? else {
        return Err(unexpected());
    };
    if common.json {
        return show::json(&status);
    }
    show::text(&show::status(&status))
}

async fn doctor(common: Verbose) -> Result<(), Failure> {
    let socket = common.socket.as_deref();
    let mut client = match Client::connect(socket).await {
        Ok(client) => client,
        Err(failure) => {
            let outside = outside::look(socket);
            if !common.json {
                show::text(&diagnosis::outside(&outside))?;
            }
            return Err(failure.with_outside(outside));
        }
    };
    let Reply::Doctor(report) = client.ask(Call::Doctor).await? else {
        return Err(unexpected());
    };
    if common.json {
        return show::json(&report);
    }
    show::text(&diagnosis::report(&report))
}

async fn watch(common: Verbose) -> Result<(), Failure> {
    let mut client = Client::connect(common.socket.as_deref()).await?;
    client.ask(Call::Watch).await?;
    let mut last = None;
    while let Some(status) = client.event().await? {
        let printed = if common.json {
            show::json(&status)
        } else {
            let standing = without_measurements(&status);
            if last.as_ref() == Some(&standing) {
                continue;
            }
            let separator = if last.is_some() { "\n" } else { "" };
            last = Some(standing);
            show::text(&format!("{separator}{}", show::status(&status)))
        };
        // Who reads has gone, as with `watch | head`: that is an end, not a failure.
        if printed.is_err() {
            return Ok(());
        }
    }
    Err(Failure::unreachable(FaultCode::EngineNotRunning.into()))
}

/// What is worth another table: everything but figures that change all the time.
fn without_measurements(status: &Status) -> Status {
    let mut status = status.clone();
    for member in status.party.iter_mut().flat_map(|party| &mut party.members) {
        (member.rtt_ms, member.jitter_ms, member.loss) = (None, None, None);
    }
    status
}

fn unexpected() -> Failure {
    Failure::internal("the engine answered something else than was asked")
}
