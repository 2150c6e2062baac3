//! The control loop: the one task that owns the member, feeds it what happened, and carries out what it decides.
//!
//! Everything here runs in the loop's order, so that what the member says first is done first. What takes longer
//! (WebSockets, the embedded control plane, packets) has its own tasks and threads and comes back as a
//! [`Happening`].

mod doctor;
mod outputs;
mod requests;
pub(crate) mod settings;
mod status;

use crate::announces::{Announces, Wanted};
use crate::checkup::Checkup;
use crate::choices::Choices;
use crate::control_client::ControlClients;
use crate::data::{DataThread, Strays};
use crate::embedded::Embedded;
use crate::games::{GameWatch, Profiles};
use crate::happening::{Happening, Happenings};
use crate::holes::Holes;
use crate::ipc_server::Published;
use crate::journal::Journal;
use crate::listeners::Listeners;
use crate::log_tail::LogTail;
use crate::mapper::{Mapper, Told};
use crate::mdns::Discovery;
use crate::relays::Relays;
use crate::settings::Settings;
use crate::state::{Intent as SavedIntent, Ports, StateDir};
use crate::stun::Resolver;
use crate::{adapter, network, spare};
use lanrage_core::io::{AdapterPlan, Config, HostPlan, Input, Intent, IntentId};
use lanrage_core::member::Member;
use lanrage_platform::process::StopRequest;
use lanrage_platform::udp::{self, PortChoice, Sockets, UdpError};
use lanrage_proto::games::Game;
use lanrage_proto::ipc::Reply;
use lanrage_proto::{Fault, FaultCode, PartyRange, PlayerName, ServerUrl};
use rustls::ClientConfig;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep_until, timeout};

/// How many happenings are taken in one go, before the member's wishes are granted.
const BATCH: usize = 64;
/// Who watches is told at once, but not more often than this …
const TELL: Duration = Duration::from_millis(200);
/// … and of pings alone no more often than this.
const TELL_MEASURES: Duration = Duration::from_secs(1);
/// A ping or its jitter that differs by less from the one that was told is the same, milliseconds …
const WAVERS_MS: f64 = 1.0;
/// … and so is a loss, as a share.
const WAVERS_LOSS: f64 = 0.005;
/// All of the engine's end.
const CLOSE: Duration = Duration::from_millis(1800);

/// What an engine is made of.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) state: Arc<StateDir>,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) choices: Choices,
    pub(crate) log_tail: LogTail,
    pub(crate) player: PlayerName,
    pub(crate) announces: Wanted,
    pub(crate) journal: Journal,
    pub(crate) profiles: Profiles,
    pub(crate) data: DataThread,
    pub(crate) discovery: Discovery,
    pub(crate) happenings: Happenings,
}

/// The engine, seen from its control loop.
pub(crate) struct Engine {
    member: Member,
    state: Arc<StateDir>,
    range: PartyRange,
    player: PlayerName,
    /// All that is set, and what of it is in effect.
    choices: Choices,
    in_effect: Settings,
    /// Something was changed and is not in effect yet.
    unadopted: bool,
    log_tail: LogTail,
    /// Where the next party would be created; none is here.
    server: Option<ServerUrl>,
    port: PortChoice,
    tun: Option<String>,
    happenings: Happenings,
    clients: ControlClients,
    discovery: Discovery,
    data: DataThread,
    relays: Relays,
    holes: Holes,
    stun: Resolver,
    mapper: Mapper,
    checkup: Checkup,
    listeners: Listeners,
    /// Open while there is a party, or one is on its way.
    sockets: Option<Arc<Sockets>>,
    /// The adapter that should be.
    plan: Option<AdapterPlan>,
    /// The one that is.
    adapter: Option<AdapterInUse>,
    /// What gets games' announces onto it.
    announces: Announces,
    wanted: Wanted,
    /// What is different in the system.
    journal: Journal,
    profiles: Arc<Profiles>,
    /// Looks for games while there is an adapter.
    game_watch: Option<GameWatch>,
    games: Vec<Game>,
    embedded: Option<(HostPlan, Embedded)>,
    /// Whose party it is; meaningless without one.
    owner: Option<u32>,
    /// Who waits for which intent.
    waiting: BTreeMap<IntentId, oneshot::Sender<Result<Reply, Fault>>>,
    last_intent: u64,
    /// Answers to `leave`, held back until everything is taken down.
    leavers: Vec<oneshot::Sender<Result<Reply, Fault>>>,
    /// What could not be remembered.
    unsaved: Option<Option<SavedIntent>>,
    /// Lasting troubles that the engine itself knows of.
    conditions: BTreeMap<FaultCode, Fault>,
    published: watch::Sender<Arc<Published>>,
    /// The member's status is another than when it was last looked at.
    changed: bool,
    /// When it was last looked whether there is something to tell.
    looked_at: Instant,
    tell_at: Option<Instant>,
}

/// The adapter that the data thread has.
struct AdapterInUse {
    name: String,
    plan: AdapterPlan,
    since: Instant,
}

/// Whether the sockets can be had, without keeping them: an idle engine has no port open.
///
/// # Errors
/// `port_taken`, `socket_failed`.
pub(crate) fn check_port(choice: &PortChoice) -> Result<(), Fault> {
    bind(choice).map(drop)
}

fn bind(choice: &PortChoice) -> Result<Sockets, Fault> {
    udp::bind(choice).map_err(|error| match error {
        UdpError::PortTaken(port) => Fault::new(FaultCode::PortTaken).with("port", port),
        UdpError::Io(error) => {
            spare::fault_of(&error, Fault::new(FaultCode::SocketFailed).with("reason", &error))
        }
    })
}

impl Engine {
    /// An engine in no party.
    pub(crate) fn new(parts: Parts) -> Self {
        let now = Instant::now();
        let (range, server) = (parts.config.range, parts.config.server.clone());
        let member = Member::new(parts.config, now);
        let settings = parts.choices.settings();
        let checkup = Checkup::new(settings.stun.clone());
        let stun = Resolver::new(settings.stun.clone(), parts.happenings.clone());
        let state = Arc::clone(&parts.state);
        let listeners = Listeners::new(parts.happenings.clone());
        let mapper = Mapper::new(settings::asks_router(&settings), state, parts.happenings.clone());
        let relays = Relays::new(&parts.tls, parts.happenings.clone());
        let clients = ControlClients::new(parts.tls, range, parts.happenings.clone());
        let first = status::compose(&member, now, &parts.player, None, (&BTreeMap::new(), &[]));
        let (published, _) = watch::channel(Arc::new(first));
        let mut engine = Self {
            member,
            range,
            player: parts.player,
            server,
            port: settings::port(&settings, &parts.state),
            state: parts.state,
            tun: settings.tun.clone(),
            choices: parts.choices,
            in_effect: settings,
            unadopted: false,
            log_tail: parts.log_tail,
            happenings: parts.happenings,
            clients,
            discovery: parts.discovery,
            data: parts.data,
            relays,
            holes: Holes::default(),
            stun,
            mapper,
            checkup,
            listeners,
            sockets: None,
            plan: None,
            adapter: None,
            announces: Announces::default(),
            wanted: parts.announces,
            journal: parts.journal,
            profiles: Arc::new(parts.profiles),
            game_watch: None,
            games: Vec::new(),
            embedded: None,
            owner: None,
            waiting: BTreeMap::new(),
            last_intent: 0,
            leavers: Vec::new(),
            unsaved: None,
            conditions: BTreeMap::new(),
            published,
            changed: false,
            looked_at: now,
            tell_at: Some(now),
        };
        engine.check_adapter();
        engine
    }

    /// What watchers are shown.
    pub(crate) fn published(&self) -> watch::Receiver<Arc<Published>> {
        self.published.subscribe()
    }

    /// Goes on with the party that was saved, if one was.
    ///
    /// # Errors
    /// `state_unusable`, `port_taken`, `socket_failed`.
    pub(crate) async fn resume(&mut self) -> Result<(), Fault> {
        let Some(intent) = self.state.intent()? else {
            return Ok(());
        };
        self.owner = intent.owner;
        self.open_sockets().await?;
        let id = self.next_intent();
        self.member.handle(
            Instant::now(),
            Input::Intent(id, Intent::Resume(Box::new(intent.saved))),
        );
        self.carry_out().await;
        Ok(())
    }

    /// Runs until told to stop.
    pub(crate) async fn run(
        &mut self,
        mut happened: mpsc::Receiver<Happening>,
        mut strays: Strays,
        mut stop: StopRequest,
    ) {
        loop {
            let wake = self.member.next_wake().map(|(at, _)| at);
            let wake = wake.into_iter().chain(self.tell_at).min();
            tokio::select! {
                () = stop.received() => {
                    tracing::info!("told to stop");
                    return;
                }
                Some(happening) = happened.recv() => {
                    self.happen(happening).await;
                    for _ in 1..BATCH {
                        let Ok(happening) = happened.try_recv() else { break };
                        self.happen(happening).await;
                    }
                }
                Some(stray) = strays.next() => {
                    let now = Instant::now();
                    self.member.handle(now, Input::Datagram(stray.path, stray.bytes));
                    for _ in 1..BATCH {
                        let Some(stray) = strays.try_next() else { break };
                        self.member.handle(now, Input::Datagram(stray.path, stray.bytes));
                    }
                }
                () = until(wake) => self.member.wake(Instant::now()),
            }
            self.carry_out().await;
            self.adopt();
            self.tell();
        }
    }

    /// Takes everything down. It is not a leave: the party, its lease and the embedded control plane's memory
    /// are kept for the next start.
    pub(crate) async fn close(mut self) {
        let closing = async {
            self.discovery.close().await;
            self.drop_adapter().await;
            self.clients.close().await;
            self.mapper.close().await;
            if let Some((_, embedded)) = self.embedded.take() {
                embedded.stop().await;
            }
            self.close_sockets().await;
        };
        if timeout(CLOSE, closing).await.is_err() {
            tracing::warn!("not everything could be closed in time");
        }
        self.data.stop();
    }

    async fn happen(&mut self, happening: Happening) {
        let now = Instant::now();
        match happening {
            Happening::Control(conn, event) => {
                if self.clients.concerns(conn, &event) {
                    self.member.handle(now, Input::Control(conn, event));
                }
            }
            Happening::Found(addresses) => self.member.handle(now, Input::Found(addresses)),
            Happening::Hosting(hosting) => self.hosting(now, hosting),
            Happening::Report(report) => self.member.handle(now, Input::Report(report)),
            Happening::Relay(id, event) => self.member.handle(now, Input::Relay(id, event)),
            Happening::Mapped(told) => self.mapped(now, *told),
            Happening::Ports(ports) => self.member.handle(now, Input::Ports(ports)),
            Happening::AdapterGone => self.adapter_gone(now).await,
            Happening::CaptureGone => self.announces.lost_capture(),
            Happening::Games(games) => {
                // The last word of a watch that was stopped may still be on its way.
                if self.game_watch.is_some() {
                    self.games = games;
                    self.tell_soon();
                }
            }
            Happening::StunServers(turn, servers) => {
                if self.stun.is_current(turn) {
                    self.member.handle(now, Input::StunServers(servers));
                }
            }
            Happening::Network => {
                self.look_at_network();
                self.look_at_capture().await;
                self.retry_adapter().await;
                self.save_again().await;
            }
            Happening::Slept(slept) => {
                // Another network may have been entered in one's sleep.
                self.look_at_network();
                self.look_at_capture().await;
                self.member.handle(now, Input::Slept(slept));
            }
            Happening::OutOfFiles(out) => self.out_of_files(out).await,
            Happening::Asked(asked) => self.asked(asked).await,
        }
    }

    fn hosting(&mut self, now: Instant, hosting: Result<lanrage_core::io::Hosting, Fault>) {
        let Some((plan, _)) = &self.embedded else {
            return;
        };
        match &hosting {
            Ok(hosting) => {
                self.discovery.announce(Some((plan.discovery, hosting.port)));
                self.state.remember_ports(Ports {
                    control: hosting.port,
                    ..self.state.ports()
                });
            }
            Err(fault) => {
                tracing::error!(%fault, details = ?fault.details, "no control plane can run here");
                self.embedded = None;
            }
        }
        self.member.handle(now, Input::Hosting(hosting));
    }

    /// The router opened ports, or will not.
    fn mapped(&mut self, now: Instant, told: Told) {
        if let Some((_, embedded)) = &self.embedded {
            embedded.mapped(told.mapped.tcp);
        }
        self.member.handle(now, Input::Mapped(told.mapped));
        self.mapper.told = told;
    }

    /// Tells the member how this computer is connected, and looks whether anything stands in its way.
    fn look_at_network(&mut self) {
        self.check_adapter();
        let adapter = self.adapter.as_ref().map(|adapter| adapter.name.as_str());
        let range = self
            .adapter
            .as_ref()
            .map_or(self.range, |adapter| adapter.plan.range);
        match self
            .adapter
            .is_some()
            .then(|| network::clash(range, adapter))
            .flatten()
        {
            Some(clash) => {
                if self.conditions.insert(clash.code, clash).is_none() {
                    tracing::warn!("another network uses the party's addresses");
                }
            }
            None => {
                self.conditions.remove(&FaultCode::AddressClash);
            }
        }
        let port = self.sockets.as_ref().map_or(0, |sockets| sockets.port);
        match network::look(adapter, range, port) {
            Ok(network) => {
                self.stun.moved(&network);
                self.mapper.moved(&network);
                self.member.handle(Instant::now(), Input::Network(network));
            }
            Err(error) => tracing::warn!(%error, "this computer's addresses can't be listed"),
        }
        self.tell_soon();
    }

    /// This computer's addresses may be others, by which games' announces are captured.
    async fn look_at_capture(&mut self) {
        if let Some(adapter) = &self.adapter {
            self.announces.look(self.wanted, &adapter.name, &self.data).await;
        }
    }

    /// Whether adapters can be made at all, as a condition while there is none.
    fn check_adapter(&mut self) {
        for code in [
            FaultCode::NoRights,
            FaultCode::NoTunDevice,
            FaultCode::SystemUnsupported,
            FaultCode::AdapterFailed,
        ] {
            self.conditions.remove(&code);
        }
        if self.adapter.is_none()
            && let Err(fault) = adapter::possible()
            // Which has a condition of its own.
            && fault.code != FaultCode::TooManyFiles
        {
            self.conditions.insert(fault.code, fault);
        }
    }

    /// The process may open no more files, or may again: then what failed meanwhile is made up for.
    async fn out_of_files(&mut self, out: bool) {
        if out {
            let fault = Fault::new(FaultCode::TooManyFiles);
            self.conditions.insert(fault.code, fault);
        } else if self.conditions.remove(&FaultCode::TooManyFiles).is_some() {
            self.look_at_network();
            self.retry_adapter().await;
            self.save_again().await;
        }
        self.tell_soon();
    }

    /// Opens the sockets unless they are open, and hands them to the data thread.
    async fn open_sockets(&mut self) -> Result<(), Fault> {
        if self.sockets.is_some() {
            return Ok(());
        }
        let sockets = Arc::new(bind(&self.port)?);
        self.state.remember_ports(Ports {
            udp: sockets.port,
            ..self.state.ports()
        });
        self.data.set_sockets(Some(Arc::clone(&sockets))).await;
        self.sockets = Some(sockets);
        self.look_at_network();
        Ok(())
    }

    async fn close_sockets(&mut self) {
        if self.sockets.take().is_some() {
            self.data.set_sockets(None).await;
        }
    }

    fn next_intent(&mut self) -> IntentId {
        self.last_intent += 1;
        IntentId(self.last_intent)
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
