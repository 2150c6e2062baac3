//! Whether the page hears events yet. What the player wants of it meanwhile is kept.

use crate::view::Wish;
use std::sync::{Mutex, PoisonError};

/// The page, as far as the shell knows it.
#[derive(Debug, Default)]
pub(crate) struct Page {
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// It hears nothing yet. Only the newest wish counts.
    Loading(Option<Wish>),
    Listening,
}

impl Default for State {
    fn default() -> Self {
        Self::Loading(None)
    }
}

impl Page {
    /// The page listens from now on. Returns what it missed.
    pub(crate) fn listens(&self) -> Option<Wish> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *state, State::Listening) {
            State::Loading(wish) => wish,
            State::Listening => None,
        }
    }

    /// The wish, to be told now; nothing while the page is loading, which asks for it then.
    pub(crate) fn tell_now(&self, wish: Wish) -> Option<Wish> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *state {
            State::Loading(kept) => {
                *kept = Some(wish);
                None
            }
            State::Listening => Some(wish),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lanrage_proto::FaultCode;

    #[test]
    fn a_wish_from_before_the_page_listened_is_told_once() {
        let page = Page::default();
        let fault = FaultCode::Busy.into();
        assert_eq!(page.tell_now(Wish::Refused { fault }), None);
        assert_eq!(page.tell_now(Wish::AskToLeave), None);
        assert_eq!(page.listens(), Some(Wish::AskToLeave));
        assert_eq!(page.listens(), None);
        assert_eq!(page.tell_now(Wish::AskToLeave), Some(Wish::AskToLeave));
    }
}
