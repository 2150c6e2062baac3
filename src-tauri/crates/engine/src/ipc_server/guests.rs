//! Who is being served, so that nobody takes the room of all.

use lanrage_proto::FaultCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::task::AbortHandle;

/// Clients at once: a window, a tray, some scripts, and those that forget to close.
pub(super) const ROOM: usize = 64;
/// Clients of one user. Root, who could take everything anyway, is not held to it.
pub(super) const ROOM_OF_ONE: usize = ROOM / 2;

/// Whether a client has asked something yet.
pub(super) type Asked = Arc<AtomicBool>;

struct Guest {
    uid: u32,
    asked: Asked,
    task: AbortHandle,
}

/// The clients that are served, the longest-standing first.
#[derive(Default)]
pub(super) struct Guests(Vec<Guest>);

impl Guests {
    /// Makes sure that there is room for one more of this user's clients. Who has asked nothing so far gives way to
    /// a newcomer.
    ///
    /// # Errors
    /// `too_many`.
    pub(super) fn make_room(&mut self, uid: u32) -> Result<(), FaultCode> {
        self.0.retain(|guest| !guest.task.is_finished());
        let own = self.0.iter().filter(|guest| guest.uid == uid).count();
        let own_room = uid == 0 || own < ROOM_OF_ONE;
        if own_room && self.0.len() < ROOM {
            return Ok(());
        }
        let gives_way =
            |guest: &Guest| !guest.asked.load(Ordering::Relaxed) && (own_room || guest.uid == uid);
        let place = self.0.iter().position(gives_way).ok_or(FaultCode::TooMany)?;
        self.0.remove(place).task.abort();
        Ok(())
    }

    /// Counts a client in.
    pub(super) fn welcome(&mut self, uid: u32, asked: Asked, task: AbortHandle) {
        self.0.push(Guest { uid, asked, task });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANNA: u32 = 1000;

    fn come(guests: &mut Guests, uid: u32, asks: bool) -> Result<AbortHandle, FaultCode> {
        guests.make_room(uid)?;
        let task = tokio::spawn(std::future::pending::<()>()).abort_handle();
        guests.welcome(uid, Arc::new(AtomicBool::new(asks)), task.clone());
        Ok(task)
    }

    #[tokio::test]
    async fn one_user_never_takes_all_places() {
        let mut guests = Guests::default();
        for _ in 0..ROOM_OF_ONE {
            come(&mut guests, ANNA, true).unwrap();
        }
        assert_eq!(come(&mut guests, ANNA, true).unwrap_err(), FaultCode::TooMany);
        assert!(come(&mut guests, 0, true).is_ok() && come(&mut guests, 1001, true).is_ok());
    }

    #[tokio::test]
    async fn who_asks_nothing_gives_way() {
        let mut guests = Guests::default();
        let silent: Vec<_> = (0..ROOM).map(|_| come(&mut guests, 0, false).unwrap()).collect();
        for uid in [0, ANNA] {
            come(&mut guests, uid, true).unwrap();
        }
        tokio::task::yield_now().await;
        let gone = silent.iter().filter(|task| task.is_finished()).count();
        assert!(gone == 2 && silent[0].is_finished() && silent[1].is_finished());
        // Those who do ask stay.
        for _ in 2..ROOM {
            come(&mut guests, 0, true).unwrap();
        }
        assert_eq!(come(&mut guests, 0, true).unwrap_err(), FaultCode::TooMany);
    }

    #[tokio::test]
    async fn a_user_makes_room_from_the_own_clients() {
        let mut guests = Guests::default();
        let others = come(&mut guests, 1001, false).unwrap();
        for _ in 0..ROOM_OF_ONE {
            come(&mut guests, ANNA, false).unwrap();
        }
        come(&mut guests, ANNA, true).unwrap();
        tokio::task::yield_now().await;
        assert!(!others.is_finished());
    }
}
