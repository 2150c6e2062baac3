//! Games that run here, as their profiles know them: looked for while there is a party.

mod profiles;

pub(crate) use profiles::Profiles;

use crate::happening::{Happening, Happenings};
use lanrage_platform::programs;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinHandle, spawn_blocking};

/// How often it is looked: a player who starts a game looks at the party a moment later.
const LOOK: Duration = Duration::from_secs(2);

/// Looks for games until it is dropped.
pub(crate) struct GameWatch(JoinHandle<()>);

impl GameWatch {
    /// Tells which games run, and again when others do. Friends reach them at `address`.
    pub(crate) fn start(profiles: Arc<Profiles>, address: Ipv4Addr, happenings: Happenings) -> Self {
        Self(tokio::spawn(watch(profiles, address, happenings)))
    }
}

impl Drop for GameWatch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn watch(profiles: Arc<Profiles>, address: Ipv4Addr, happenings: Happenings) {
    let mut known = Vec::new();
    loop {
        let wanted = Arc::clone(&profiles);
        let looked = spawn_blocking(move || programs::look(|program| wanted.concern(program)));
        match looked.await {
            Ok(Ok(running)) => {
                let games = profiles.games(&running, address);
                if games != known {
                    known.clone_from(&games);
                    if happenings.send(Happening::Games(games)).await.is_err() {
                        return;
                    }
                }
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::Unsupported => return,
            Ok(Err(error)) => tracing::debug!(%error, "programs can't be listed"),
            Err(error) => tracing::error!(%error, "looking for games failed"),
        }
        tokio::time::sleep(LOOK).await;
    }
}
