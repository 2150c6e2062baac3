//! Games that run on a member's computer, as profiles know them.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// A game that runs on this computer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, TS)]
pub struct Game {
    /// Its name.
    pub name: String,
    /// Where friends reach it, as `address:port` to copy; absent while it waits for nobody.
    pub address: Option<String>,
    /// The program, as the system names it.
    pub process: String,
    /// After so many seconds of silence the game takes a player for gone; absent where its profile does not say.
    pub keepalive: Option<u16>,
    /// How to join it, or what is special about it: one of the notes that have words in every language (`notes.*` of the
    /// catalogue), or a sentence of a profile of the player's own.
    pub notes: Option<String>,
}
