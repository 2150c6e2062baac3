//! What the data plane counts.

/// Why a packet or datagram was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// There is no party.
    NoParty,
    /// Not IPv4.
    NotIpv4,
    /// An IPv4 header that contradicts itself or the packet's length, or a time to live of 0.
    Malformed,
    /// Its header holds options.
    Options,
    /// Its source is not its sender's lease, or it was sent by somebody else where it was seen.
    WrongSource,
    /// Its destination is none that may be reached: out, no address of the party; in, none of this member's.
    WrongDestination,
    /// Nobody has that address.
    NoPeer,
    /// No path to the peer was found in time.
    NoPath,
    /// No session with the peer came about in time, or a datagram belongs to a session that is no more.
    NoSession,
    /// A datagram that is forged, replayed or damaged.
    Refused,
    /// A handshake by a stranger.
    Stranger,
    /// A datagram that is neither WireGuard's nor one that the member waits for.
    Unexpected,
    /// Too many handshakes from there, or too many announces.
    Throttled,
    /// An announce of a kind that stays at home, or for a group that is not carried.
    NotCarried,
    /// A fragment of an announce.
    Fragment,
    /// An announce that came before.
    Duplicate,
    /// It is for a service of this computer that is closed to peers.
    Closed,
    /// For a multicast group that no program here joined.
    NotJoined,
    /// An announce that came while there was no adapter to deliver it to.
    NoAdapter,
    /// More waits to be sent or delivered than there is room for.
    NoRoom,
}

impl Reason {
    /// All there are.
    pub const ALL: [Reason; 20] = [
        Reason::NoParty,
        Reason::NotIpv4,
        Reason::Malformed,
        Reason::Options,
        Reason::WrongSource,
        Reason::WrongDestination,
        Reason::NoPeer,
        Reason::NoPath,
        Reason::NoSession,
        Reason::Refused,
        Reason::Stranger,
        Reason::Unexpected,
        Reason::Throttled,
        Reason::NotCarried,
        Reason::Fragment,
        Reason::Duplicate,
        Reason::Closed,
        Reason::NotJoined,
        Reason::NoAdapter,
        Reason::NoRoom,
    ];

    /// The name, in snake_case.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::NoParty => "no_party",
            Reason::NotIpv4 => "not_ipv4",
            Reason::Malformed => "malformed",
            Reason::Options => "options",
            Reason::WrongSource => "wrong_source",
            Reason::WrongDestination => "wrong_destination",
            Reason::NoPeer => "no_peer",
            Reason::NoPath => "no_path",
            Reason::NoSession => "no_session",
            Reason::Refused => "refused",
            Reason::Stranger => "stranger",
            Reason::Unexpected => "unexpected",
            Reason::Throttled => "throttled",
            Reason::NotCarried => "not_carried",
            Reason::Fragment => "fragment",
            Reason::Duplicate => "duplicate",
            Reason::Closed => "closed",
            Reason::NotJoined => "not_joined",
            Reason::NoAdapter => "no_adapter",
            Reason::NoRoom => "no_room",
        }
    }
}

/// Packets and their bytes, without what WireGuard and UDP add.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// How many.
    pub packets: u64,
    /// How long, together.
    pub bytes: u64,
}

impl Traffic {
    pub(super) fn add(&mut self, length: usize) {
        self.packets += 1;
        self.bytes += length as u64;
    }
}

/// What passed since the start, and what did not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Sealed for a peer; an announce counts once for each.
    pub sent: Traffic,
    /// Opened, checked and delivered.
    pub received: Traffic,
    dropped: [u64; Reason::ALL.len()],
}

impl Counters {
    /// How many were dropped for this reason.
    pub fn dropped(&self, reason: Reason) -> u64 {
        self.dropped[reason as usize]
    }

    /// How many were dropped.
    pub fn dropped_in_all(&self) -> u64 {
        self.dropped.iter().sum()
    }

    pub(super) fn drop(&mut self, reason: Reason) {
        self.dropped[reason as usize] += 1;
    }
}

impl std::fmt::Display for Counters {
    /// `sent 3, received 2, dropped 4: wrong_source 3, options 1`; only what was counted.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (sent, received) = (self.sent.packets, self.received.packets);
        let dropped = self.dropped_in_all();
        write!(f, "sent {sent}, received {received}, dropped {dropped}")?;
        let reasons = Reason::ALL.into_iter().filter(|reason| self.dropped(*reason) > 0);
        for (number, reason) in reasons.enumerate() {
            let before = if number == 0 { ":" } else { "," };
            write!(f, "{before} {} {}", reason.as_str(), self.dropped(reason))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_counted_by_itself() {
        for reason in Reason::ALL {
            let mut counters = Counters::default();
            counters.drop(reason);
            let counted: Vec<_> = Reason::ALL
                .into_iter()
                .filter(|r| counters.dropped(*r) == 1)
                .collect();
            assert_eq!(counted, [reason]);
        }
    }

    #[test]
    fn they_are_told_by_name() {
        let mut counters = Counters::default();
        assert_eq!(counters.to_string(), "sent 0, received 0, dropped 0");
        counters.sent.add(100);
        for reason in [Reason::NoRoom, Reason::WrongSource, Reason::NoRoom] {
            counters.drop(reason);
        }
        assert_eq!(
            counters.to_string(),
            "sent 1, received 0, dropped 3: wrong_source 1, no_room 2"
        );
    }
}
