//! What is sent in a try, when, from which socket, to which port: all of it follows from the two aims.

use super::{Aim, DATAGRAMS, LOW, SOCKETS};
use rand_chacha::ChaCha20Rng;
use rand_core::RngCore;
use std::collections::BTreeSet;
use std::time::Duration;

/// Sockets may take this long to open.
const OPENING: Duration = Duration::from_millis(20);
/// So many a second go to ports that are guessed. Home routers carry that, and half a minute's memory of each.
const RATE: u32 = 150;
/// So many a second where both sides guess: players wait, and all together they are as many as otherwise.
const PAIR_RATE: u32 = 300;
/// So many a second go to the one port that is known, and to the first ports that are guessed: a few hundred in all.
const SPREAD: u32 = 400;
/// Sockets with low ports among many: under 100 guesses reach them.
const LOW_SOCKETS: usize = 32;
/// The first guesses, all low.
const LOW_GUESSES: usize = 100;
/// Guesses before those, where ports come in a row.
const ROW_GUESSES: u16 = 32;
/// Sockets where both sides come from low ports.
const LOW_PAIR: usize = 3;
/// Sockets where both sides deal their ports in a row: each aims at the middle of what the other's get, so that so
/// many halved may have gone elsewhere meanwhile.
const ROW_PAIR: u16 = 24;
/// When those that send to one port begin again.
const PASSES: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_millis(2500),
    Duration::from_millis(5000),
    Duration::from_millis(7000),
];
/// Likewise where both sides deal their ports in a row: they do not begin at the very same moment.
const ROW_PASSES: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_millis(1000),
    Duration::from_millis(2000),
    Duration::from_millis(4000),
];

/// One datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shot {
    /// After the beginning.
    pub(super) at: Duration,
    /// The socket, by its position.
    pub(super) from: usize,
    pub(super) port: u16,
}

/// How many sockets it takes besides the primary one, and how many of them with low ports.
pub(super) fn sockets(own: Aim, peer: Aim) -> (usize, usize) {
    match (own, peer) {
        (Aim::Port(_), _) => (0, 0),
        (Aim::Anywhere | Aim::After(_), Aim::Port(_)) => (SOCKETS, LOW_SOCKETS),
        (Aim::Anywhere, Aim::Anywhere | Aim::After(_)) => (LOW_PAIR, LOW_PAIR),
        (Aim::After(_), Aim::Anywhere) => (LOW_PAIR, 0),
        (Aim::After(_), Aim::After(_)) => (usize::from(ROW_PAIR), 0),
    }
}

/// All that is sent.
pub(super) fn script(own: Aim, peer: Aim, rng: &mut ChaCha20Rng) -> Vec<Shot> {
    let (sockets, _) = sockets(own, peer);
    let shots = match (own, peer) {
        (Aim::Port(_), _) => guesses(peer, rng),
        (_, Aim::Port(port)) => passes(&PASSES, sockets, port),
        (Aim::After(_), Aim::After(port)) => passes(&ROW_PASSES, sockets, onwards(port, ROW_PAIR / 2)),
        (_, Aim::After(port)) => {
            let row = (1..).map(|step| onwards(port, step));
            paced(row.take(DATAGRAMS), sockets)
        }
        (_, Aim::Anywhere) => {
            // No socket meets a port twice.
            let ports = low_ports(rng);
            let count = ports.len();
            let shift = count / sockets;
            let order = (0..count * sockets).map(|n| ports[(n / sockets + n % sockets * shift) % count]);
            paced(order, sockets)
        }
    };
    // Two datagrams went to a STUN server before.
    shots.into_iter().take(DATAGRAMS - 4).collect()
}

/// From one port to many: those in the row, low ones, then any without repetition.
fn guesses(peer: Aim, rng: &mut ChaCha20Rng) -> Vec<Shot> {
    let row = match peer {
        Aim::After(port) => (1..=ROW_GUESSES).map(|step| onwards(port, step)).collect(),
        Aim::Port(_) | Aim::Anywhere => Vec::new(),
    };
    let low = low_ports(rng).into_iter().take(LOW_GUESSES);
    let first = row.len() + LOW_GUESSES;
    let mut seen: BTreeSet<u16> = row.iter().copied().collect();
    let mut ports: Vec<u16> = row.into_iter().chain(low).collect();
    while ports.len() < DATAGRAMS {
        let port = rng.next_u32() as u16;
        if port >= 1024 && seen.insert(port) {
            ports.push(port);
        }
    }
    // The likely ones are all out before the other side begins ([`super::LEAD`]).
    let rest = OPENING + after(first, SPREAD);
    let at = |n: usize| match n.checked_sub(first) {
        None => OPENING + after(n, SPREAD),
        Some(n) => rest + after(n, RATE),
    };
    let shot = |(n, port)| Shot {
        at: at(n),
        from: 0,
        port,
    };
    ports.into_iter().enumerate().map(shot).collect()
}

/// How long so many take at so many a second.
fn after(count: usize, rate: u32) -> Duration {
    Duration::from_secs(1).mul_f64(count as f64 / f64::from(rate))
}

/// One after the other, by each socket in turn.
fn paced(ports: impl IntoIterator<Item = u16>, sockets: usize) -> Vec<Shot> {
    let shot = |(n, port)| Shot {
        at: OPENING + Duration::from_secs(1) * n / PAIR_RATE,
        from: n as usize % sockets,
        port,
    };
    (0u32..).zip(ports).map(shot).collect()
}

/// Each socket once in each pass.
fn passes(passes: &[Duration], sockets: usize, port: u16) -> Vec<Shot> {
    let pass = |begins: &Duration| {
        let begins = OPENING + *begins;
        (0u32..).take(sockets).map(move |n| Shot {
            at: begins + Duration::from_secs(1) * n / SPREAD,
            from: n as usize,
            port,
        })
    };
    passes.iter().flat_map(pass).collect()
}

/// So many ports further on, past the low ones at the end.
fn onwards(port: u16, steps: u16) -> u16 {
    let span = u32::from(u16::MAX - 1024) + 1;
    let place = u32::from(port.saturating_sub(1024)) + u32::from(steps);
    // Below 65,536.
    (1024 + place % span) as u16
}

/// The low ports, shuffled.
pub(super) fn low_ports(rng: &mut ChaCha20Rng) -> Vec<u16> {
    let mut ports: Vec<u16> = LOW.collect();
    // Fisher and Yates.
    for last in (1..ports.len()).rev() {
        let other = rng.next_u32() as usize % (last + 1);
        ports.swap(last, other);
    }
    ports
}

#[cfg(test)]
mod tests {
    use super::super::LASTS;
    use super::*;
    use rand_core::SeedableRng;

    const AIMS: [Aim; 3] = [Aim::Port(51820), Aim::Anywhere, Aim::After(65_530)];

    fn pairs() -> impl Iterator<Item = (Aim, Aim)> {
        let with = |own: Aim| AIMS.into_iter().map(move |peer| (own, peer));
        AIMS.into_iter()
            .flat_map(with)
            .filter(|(own, peer)| own.meets(*peer))
    }

    #[test]
    fn no_try_is_larger_or_longer_than_it_may_be() {
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        for (own, peer) in pairs() {
            let (count, low) = sockets(own, peer);
            assert!(count <= SOCKETS && low <= count, "{own:?} {peer:?}");
            let shots = script(own, peer, &mut rng);
            assert!(
                !shots.is_empty() && shots.len() + 4 <= DATAGRAMS,
                "{own:?} {peer:?}"
            );
            for shot in shots {
                assert!(shot.from < count.max(1), "{own:?} {peer:?}");
                assert!(shot.at >= OPENING && shot.at + super::super::LEAD < LASTS);
                assert!(shot.port >= 1024 || LOW.contains(&shot.port));
            }
        }
    }

    #[test]
    fn one_port_guesses_low_ones_first_and_none_twice() {
        let mut rng = ChaCha20Rng::from_seed([2; 32]);
        let ports = |peer, rng: &mut ChaCha20Rng| -> Vec<u16> {
            let shots = script(Aim::Port(51820), peer, rng);
            shots.iter().map(|shot| shot.port).collect()
        };
        let random = ports(Aim::Anywhere, &mut rng);
        assert!(random[..100].iter().all(|port| LOW.contains(port)));
        assert!(random[100..].iter().all(|port| *port >= 1024));
        let distinct: BTreeSet<u16> = random.iter().copied().collect();
        assert_eq!(distinct.len(), random.len());
        let row = ports(Aim::After(65_533), &mut rng);
        assert_eq!(row[..4], [65_534, 65_535, 1024, 1025]);
        assert!(LOW.contains(&row[32]));
    }

    #[test]
    fn the_likely_ports_are_guessed_before_the_other_side_begins() {
        let mut rng = ChaCha20Rng::from_seed([5; 32]);
        for peer in [Aim::Anywhere, Aim::After(5000)] {
            let shots = script(Aim::Port(51820), peer, &mut rng);
            let low = shots.iter().filter(|shot| LOW.contains(&shot.port));
            let last = low.map(|shot| shot.at).max().unwrap();
            assert!(last < super::super::LEAD, "{peer:?}: {last:?}");
            let all = shots.iter().map(|shot| shot.at).max().unwrap();
            assert!(all < super::super::LONG_LEAD, "{all:?}");
            let second = shots
                .iter()
                .filter(|shot| shot.at < Duration::from_secs(1))
                .count();
            assert!(second < 260, "{peer:?}: {second} in the first second");
        }
    }

    #[test]
    fn two_that_come_from_anywhere_cover_all_low_ports_by_each_socket() {
        let mut rng = ChaCha20Rng::from_seed([3; 32]);
        let shots = script(Aim::Anywhere, Aim::Anywhere, &mut rng);
        let distinct: BTreeSet<(usize, u16)> = shots.iter().map(|shot| (shot.from, shot.port)).collect();
        assert_eq!(distinct.len(), shots.len());
        assert!(shots.iter().all(|shot| LOW.contains(&shot.port)));
    }

    #[test]
    fn who_gets_ports_in_a_row_uses_each_socket_before_any_again() {
        let mut rng = ChaCha20Rng::from_seed([4; 32]);
        let shots = script(Aim::After(5000), Aim::After(7000), &mut rng);
        let first: Vec<usize> = shots.iter().take(24).map(|shot| shot.from).collect();
        assert_eq!(first, (0..24).collect::<Vec<_>>());
        assert!(shots.iter().all(|shot| shot.port == 7012));
    }
}
