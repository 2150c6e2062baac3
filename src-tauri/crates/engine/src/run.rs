//! `lanrage-engine run`: from the arguments to a running engine, and to its end.
//!
//! In this order, so that each step finds what it rests on: settings, the state directory with its lock, logs,
//! count of starts, device seed, sockets, the IPC, the party to go on with.

use crate::announces::Wanted;
use crate::choices::Choices;
use crate::cli::Failure;
use crate::cli::args::Run;
use crate::control_loop::{Engine, Parts};
use crate::data::DataThread;
use crate::games::Profiles;
use crate::happening::{Happening, ROOM};
use crate::journal::Journal;
use crate::log_tail::LogTail;
use crate::settings::{Control, Settings, Switch};
use crate::state::StateDir;
use crate::{control_loop, ipc_server, logging, mdns, network, spare, trust};
use lanrage_core::io::Config;
use lanrage_core::keys::DeviceSeed;
use lanrage_platform::ipc::{self, IpcError, Listener};
use lanrage_platform::process::StopRequest;
use lanrage_platform::{dirs, rights};
use lanrage_proto::{Fault, FaultCode, PartyRange, PlayerName, Why};
use rand_core::{OsRng, RngCore};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Runs the engine until it is told to stop.
pub(crate) fn main(arguments: Run) -> Result<(), Failure> {
    if lanrage_core::VIRTUAL_TIME {
        return Err(Failure::internal(
            "this build runs on a simulation's clock and would never re-key",
        ));
    }
    rights::raise_open_files();
    spare::check_room().map_err(Failure::engine)?;
    let state_dir = arguments
        .state_dir
        .clone()
        .unwrap_or_else(dirs::service_state_dir);
    let typed = typed(&arguments)?;
    let file = Settings::read(arguments.config.as_deref(), &state_dir).map_err(Failure::engine)?;
    let state = Arc::new(StateDir::open(&state_dir).map_err(Failure::engine)?);
    let log = typed.log.as_ref().or(file.log.as_ref());
    let (guard, log_tail) = logging::start(log.map(String::as_str), &state_dir).map_err(Failure::engine)?;
    let choices = Choices::new(file, state.changes(), typed);
    let socket = arguments.socket.unwrap_or_else(ipc::default_socket_path);
    let result = start(choices, log_tail, state, socket);
    if let Err(fault) = &result {
        tracing::error!(%fault, details = ?fault.details, "the engine can't run");
    }
    drop(guard);
    result.map_err(Failure::engine)
}

/// What was typed, as settings that win over the file's.
fn typed(arguments: &Run) -> Result<Settings, Failure> {
    let control = arguments.control.as_deref().map(Control::parse);
    let name = arguments.name.as_deref().map(|name| {
        PlayerName::parse(name)
            .map_err(|error| Fault::new(FaultCode::NameInvalid).with("reason", Why::from(error)))
    });
    Ok(Settings {
        control: control.transpose().map_err(Failure::usage)?,
        control_ca: arguments.control_ca.clone(),
        port: arguments.port,
        tun: arguments.tun.clone(),
        name: name.transpose().map_err(Failure::usage)?,
        allow_uid: arguments.allow_uid.clone(),
        log: arguments.log.clone(),
        mdns: arguments.no_mdns.then_some(false),
        stun: arguments.stun.clone(),
        turn: arguments.turn.clone(),
        turn_user: arguments.turn_user.clone(),
        turn_password_file: arguments.turn_password_file.clone(),
        turn_password: None,
        punching: arguments.no_punching.then_some(false),
        port_mapping: arguments.port_mapping,
        share: arguments.share,
        carry: arguments.carry.clone(),
        multicast: arguments.no_multicast.then_some(false),
        multicast_route: arguments.multicast_route,
        capture: arguments.capture,
        realtime: None,
    })
}

fn start(choices: Choices, log_tail: LogTail, state: Arc<StateDir>, socket: PathBuf) -> Result<(), Fault> {
    let settings = choices.settings();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), state = %state.path().display(), "starting");
    // The count first: on disk before anything that is told under it, and started over only with a new seed.
    let boot = state.next_boot()?;
    let seed = DeviceSeed::from_bytes(*state.seed()?);
    let journal = Journal::open(Arc::clone(&state));
    let player = settings.player().map_err(|error| internal(&error))?;
    let tls = trust::client_config(settings.control_ca.as_deref())?;
    let mut randomness = [0; 32];
    OsRng.fill_bytes(&mut randomness);
    let config = Config {
        seed,
        boot,
        randomness,
        player: player.clone(),
        server: settings.server(),
        range: PartyRange::DEFAULT,
        relays: settings.relays()?,
        punching: settings.punching.unwrap_or(true),
        rules: settings.rules(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| internal(&error))?;
    let port = control_loop::settings::port(&settings, &state);
    let result = runtime.block_on(async {
        let (happenings, happened) = mpsc::channel(ROOM);
        // Both before the party goes on, so that a second engine or a taken port changes nothing.
        control_loop::check_port(&port)?;
        let listener = Listener::bind(&socket).map_err(|error| no_socket(&error))?;
        let stop = StopRequest::listen().map_err(|error| internal(&error))?;
        let (data, strays) = DataThread::start(settings.realtime.unwrap_or(true), happenings.clone())?;
        let discovery = mdns::Discovery::new(
            settings.mdns.unwrap_or(true),
            settings.tun.clone(),
            happenings.clone(),
        );
        let mut engine = Engine::new(Parts {
            config,
            state: Arc::clone(&state),
            tls,
            choices,
            log_tail,
            player,
            announces: Wanted {
                multicast: settings.multicast_route != Some(Switch::Off),
                capture: settings.capture != Some(Switch::Off),
            },
            journal,
            profiles: Profiles::read(&state.path().join("profiles")),
            data,
            discovery,
            happenings: happenings.clone(),
        });
        let desk = ipc_server::Desk {
            happenings: happenings.clone(),
            published: engine.published(),
        };
        let watchers = [
            network::watch(happenings.clone()),
            network::watch_sleep(happenings.clone()),
        ];
        engine.resume().await?;
        let clients = tokio::spawn(ipc_server::serve(listener, settings.allow_uid.clone(), desk));
        // The first look at the network comes with the resumed party or the first intent.
        happenings
            .send(Happening::Network)
            .await
            .map_err(|error| internal(&error))?;
        tracing::info!(socket = %socket.display(), "ready");
        engine.run(happened, strays, stop).await;
        // Nobody new is served while the rest is taken down; the socket goes with its listener.
        clients.abort();
        watchers.iter().for_each(|watcher| watcher.abort());
        let _ = clients.await;
        engine.close().await;
        Ok(())
    });
    // Name resolution may still block a thread of the pool; nothing waits for it.
    runtime.shutdown_background();
    tracing::info!("stopped");
    result
}

fn internal(error: &dyn std::fmt::Display) -> Fault {
    Fault::new(FaultCode::Internal).with("reason", error)
}

fn no_socket(error: &IpcError) -> Fault {
    match error {
        IpcError::InUse { path } => Fault::new(FaultCode::EngineRunning).with("path", path.display()),
        IpcError::Io { path, source } => Fault::new(FaultCode::StateUnusable)
            .with("path", path.display())
            .with("reason", source),
        // What a client meets, or a system without local sockets.
        other => internal(other),
    }
}
