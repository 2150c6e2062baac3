//! Sockets that are opened for one peer alone, while a hole is made to it and as long as that carries.
//!
//! While a hole is being made there may be hundreds for a few seconds: each is read by a small task, and what comes
//! goes to the data thread as if it came by a relay. The one that is kept moves to the data thread, which waits for it
//! beside the primary sockets.

use crate::data::{DataThread, Door};
use crate::spare;
use lanrage_core::path::{Path, TransportId};
use lanrage_core::punch::{HolePlan, LOW};
use lanrage_platform::rights::is_out_of_files;
use lanrage_platform::udp;
use socket2::SockRef;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// Low ports tried for one socket.
const LOW_TRIES: u16 = 4;
/// Longer than a probe or a handshake; nobody sends data to a socket that is not yet a path.
const LONGEST: usize = 2048;

/// The sockets that are open.
#[derive(Default)]
pub(crate) struct Holes {
    tried: BTreeMap<TransportId, Tried>,
    kept: BTreeMap<TransportId, Arc<UdpSocket>>,
    /// Wished for and not to be had; not tried again.
    refused: BTreeSet<TransportId>,
}

struct Tried {
    socket: Arc<tokio::net::UdpSocket>,
    reader: JoinHandle<()>,
}

impl Drop for Tried {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Holes {
    /// Makes the wish true: what is no longer wished for is closed, what is new opened.
    pub(crate) fn wish(&mut self, plans: &[HolePlan], data: &DataThread) {
        let wished: BTreeSet<TransportId> = plans.iter().map(|plan| plan.id).collect();
        self.tried.retain(|id, _| wished.contains(id));
        self.refused.retain(|id| wished.contains(id));
        let gone = self.kept.keys().filter(|id| !wished.contains(id));
        for id in gone.copied().collect::<Vec<_>>() {
            data.set_hole(id, None);
            self.kept.remove(&id);
        }
        for plan in plans.iter().filter(|plan| plan.kept) {
            self.keep(plan.id, data);
        }
        self.open(plans, data);
    }

    fn keep(&mut self, id: TransportId, data: &DataThread) {
        let Some(tried) = self.tried.remove(&id) else {
            return;
        };
        // The task's own handle closes with it; this one goes on with the same socket.
        match SockRef::from(&*tried.socket).try_clone() {
            Ok(socket) => {
                let socket = Arc::new(UdpSocket::from(socket));
                data.set_hole(id, Some(Arc::clone(&socket)));
                self.kept.insert(id, socket);
            }
            Err(error) => {
                tracing::warn!(%error, "a hole can't be kept");
                self.refused.insert(id);
            }
        }
    }

    fn open(&mut self, plans: &[HolePlan], data: &DataThread) {
        let here =
            |id| self.tried.contains_key(id) || self.kept.contains_key(id) || self.refused.contains(id);
        let new: Vec<HolePlan> = plans.iter().filter(|plan| !here(&plan.id)).copied().collect();
        if new.is_empty() {
            return;
        }
        // Asked before, as a socket that is closed again goes only when its task does. Holes are a luxury, the next IPC
        // client is not.
        let mut room = spare::room_for(new.len());
        if room < new.len() {
            tracing::debug!(room, "too few files for all sockets of a hole");
        }
        for plan in new {
            let tried = (room > 0).then(|| try_one(plan, data.door()));
            match tried {
                Some(Ok(tried)) => {
                    room -= 1;
                    self.tried.insert(plan.id, tried);
                }
                Some(Err(_)) | None => {
                    self.refused.insert(plan.id);
                }
            }
        }
    }

    /// Sends by one of them.
    pub(crate) fn send(&self, path: Path, datagram: &[u8]) {
        let sent = if let Some(kept) = self.kept.get(&path.transport) {
            kept.send_to(datagram, path.remote)
        } else if let Some(tried) = self.tried.get(&path.transport) {
            // Past tokio, which would first have to learn that there is room.
            SockRef::from(&*tried.socket).send_to(datagram, &path.remote.into())
        } else {
            return;
        };
        if let Err(error) = sent {
            tracing::trace!(%error, "a datagram did not leave");
        }
    }
}

fn try_one(plan: HolePlan, door: Door) -> io::Result<Tried> {
    let socket = Arc::new(tokio::net::UdpSocket::from_std(bind(plan.port)?)?);
    let reader = tokio::spawn(read(plan.id, Arc::clone(&socket), door));
    Ok(Tried { socket, reader })
}

/// A socket with the low port, or one of the next; where none can be had, with any port.
fn bind(low: Option<u16>) -> io::Result<UdpSocket> {
    let next = |low: u16| (low..low.saturating_add(LOW_TRIES)).filter(|port| LOW.contains(port));
    for port in low.into_iter().flat_map(next) {
        match udp::bind_short_lived(port) {
            Err(error) if is_out_of_files(&error) => return Err(error),
            // Taken, or not allowed.
            Err(_) => {}
            bound => return bound,
        }
    }
    udp::bind_short_lived(0)
}

async fn read(transport: TransportId, socket: Arc<tokio::net::UdpSocket>, door: Door) {
    let mut buffer = [0; LONGEST];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, remote)) => door.deliver(Path { transport, remote }, &buffer[..length]),
            // What a datagram sent before met.
            Err(error) => {
                tracing::trace!(%error, "receiving");
                tokio::task::yield_now().await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
