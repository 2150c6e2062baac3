//! Relays: allocations on TURN servers (RFC 8656), each a transport of its own.
//!
//! One thread holds them all. What is sent by a relay waits in a short queue that drops its oldest; what comes by it
//! goes to the data thread like any datagram. A relay is reached by the first of its ways that works: UDP, then TCP,
//! then TLS, each begun half a second after the one before or when that failed; a stream is left for UDP once that gets
//! through. A relay that fails is tried again, with growing pauses.

mod client;
mod framing;
mod queue;
mod turn;
mod wire;

pub(crate) use queue::Queue;

use crate::data::DataThread;
use crate::happening::{Happening, Happenings};
use lanrage_core::path::TransportId;
use lanrage_core::relays::{RelayEvent, RelayPlan};
use lanrage_proto::TurnUri;
use rustls::ClientConfig;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// Between two rounds through all ways of a relay, doubled each time …
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// … up to this: whoever has no other way waits for it.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A relay that was up this long is tried again at once, and begins with the first pause again.
const LASTING: Duration = Duration::from_secs(30);

/// The control loop's hold on the relays.
pub(crate) struct Relays {
    running: BTreeMap<TransportId, Arc<Queue>>,
    /// None until the first relay is wished for: most parties on one LAN never need any.
    thread: Option<mpsc::UnboundedSender<Change>>,
    tls: Arc<ClientConfig>,
    happenings: Happenings,
}

enum Change {
    Start(RelayPlan, Arc<Queue>, Door),
    Plan(RelayPlan),
    Stop(TransportId),
}

/// Where what a relay brings goes.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) data: crate::data::Door,
    pub(crate) happenings: Happenings,
}

impl Door {
    /// Tells the control loop; `false` when it is gone.
    async fn tell(&self, id: TransportId, event: RelayEvent) -> bool {
        self.happenings.send(Happening::Relay(id, event)).await.is_ok()
    }

    /// Tells what came of one way to a relay.
    async fn tried(&self, id: TransportId, way: &TurnUri, failed: Option<&str>) {
        let (way, failed) = (way.clone(), failed.map(str::to_owned));
        // Whoever is gone needs no telling, and what comes next finds that out.
        self.tell(id, RelayEvent::Tried { way, failed }).await;
    }
}

impl Relays {
    pub(crate) fn new(tls: &ClientConfig, happenings: Happenings) -> Self {
        let mut tls = tls.clone();
        // RFC 7443: what is spoken inside is TURN.
        tls.alpn_protocols = vec![b"stun.turn".to_vec()];
        Self {
            running: BTreeMap::new(),
            thread: None,
            tls: Arc::new(tls),
            happenings,
        }
    }

    /// Makes the wish true: starts, instructs and ends relays.
    pub(crate) fn wish(&mut self, plans: Vec<RelayPlan>, data: &DataThread) {
        let gone: Vec<TransportId> = self
            .running
            .keys()
            .filter(|id| plans.iter().all(|plan| plan.id != **id))
            .copied()
            .collect();
        for id in gone {
            self.running.remove(&id);
            data.set_relay(id, None);
            self.change(Change::Stop(id));
        }
        for plan in plans {
            if self.running.contains_key(&plan.id) {
                self.change(Change::Plan(plan));
                continue;
            }
            let queue = Arc::new(Queue::default());
            self.running.insert(plan.id, Arc::clone(&queue));
            data.set_relay(plan.id, Some(Arc::clone(&queue)));
            let door = Door {
                data: data.door(),
                happenings: self.happenings.clone(),
            };
            self.change(Change::Start(plan, queue, door));
        }
    }

    /// The queue of a relay that is wished for.
    pub(crate) fn queue(&self, id: TransportId) -> Option<&Queue> {
        self.running.get(&id).map(Arc::as_ref)
    }

    fn change(&mut self, change: Change) {
        let thread = match &self.thread {
            Some(thread) => thread,
            None => match start(Arc::clone(&self.tls)) {
                Ok(thread) => self.thread.insert(thread),
                Err(error) => {
                    tracing::error!(%error, "there can be no relays");
                    return;
                }
            },
        };
        // A thread that ended took its relays with it; the next wish starts another.
        if thread.send(change).is_err() {
            self.thread = None;
        }
    }
}

fn start(tls: Arc<ClientConfig>) -> std::io::Result<mpsc::UnboundedSender<Change>> {
    let (changes, wishes) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name("relays".to_owned())
        .spawn(move || runtime.block_on(hold(wishes, tls)))?;
    Ok(changes)
}

/// Holds the relays until the control loop is gone.
async fn hold(mut changes: mpsc::UnboundedReceiver<Change>, tls: Arc<ClientConfig>) {
    let mut running: BTreeMap<TransportId, (watch::Sender<RelayPlan>, JoinHandle<()>)> = BTreeMap::new();
    while let Some(change) = changes.recv().await {
        match change {
            Change::Start(plan, queue, door) => {
                let id = plan.id;
                let (sender, plans) = watch::channel(plan);
                let task = tokio::spawn(keep(plans, queue, door, Arc::clone(&tls)));
                running.insert(id, (sender, task));
            }
            Change::Plan(plan) => {
                if let Some((sender, _)) = running.get(&plan.id) {
                    sender.send_replace(plan);
                }
            }
            // The end of the plan is the task's; it gives the allocation back.
            Change::Stop(id) => drop(running.remove(&id)),
        }
    }
    for (_, (sender, task)) in running {
        drop(sender);
        let _ = tokio::time::timeout(Duration::from_secs(1), task).await;
    }
}

/// Keeps one relay up until its plan ends.
async fn keep(mut plans: watch::Receiver<RelayPlan>, queue: Arc<Queue>, door: Door, tls: Arc<ClientConfig>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let plan = plans.borrow_and_update().clone();
        let reached = tokio::select! {
            reached = client::reach(&plan, &door, &tls) => reached,
            ended = moved(&mut plans, plan.anew) => {
                if ended {
                    return;
                }
                pause = FIRST_PAUSE;
                continue;
            }
        };
        let began = tokio::time::Instant::now();
        let reason = match reached {
            Ok(session) => {
                let way = session.way.clone();
                match session.hold(&mut plans, &queue, &door, &tls).await {
                    client::End::Unwanted => return,
                    client::End::Anew => {
                        pause = FIRST_PAUSE;
                        continue;
                    }
                    client::End::Lost(why) => {
                        door.tried(plan.id, &way, Some(&why)).await;
                        why
                    }
                }
            }
            Err(why) => why,
        };
        if !door.tell(plan.id, RelayEvent::Down { reason }).await {
            return;
        }
        if began.elapsed() >= LASTING {
            pause = FIRST_PAUSE;
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            ended = moved(&mut plans, plan.anew) => {
                if ended {
                    return;
                }
                pause = FIRST_PAUSE;
                continue;
            }
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Waits until the plan ends, or this computer moved.
async fn moved(plans: &mut watch::Receiver<RelayPlan>, before: u32) -> bool {
    loop {
        if plans.borrow().anew != before {
            return false;
        }
        if plans.changed().await.is_err() {
            return true;
        }
    }
}
