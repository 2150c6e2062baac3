//! The compatibility matrix: whether two members can be expected to reach each other directly.

use super::NatType;
use std::fmt;

/// What can be expected of a pair. Paths are tried whatever it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prediction {
    /// A direct path.
    Direct,
    /// A direct path through a hole that is made for the pair ([`crate::punch`]): usually, within some seconds.
    Hole,
    /// A direct path with luck, or not known.
    Perhaps,
    /// A relay.
    Relayed,
}

impl fmt::Display for Prediction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Prediction::Direct => "direct",
            Prediction::Hole => "hole",
            Prediction::Perhaps => "perhaps",
            Prediction::Relayed => "relayed",
        })
    }
}

/// What can be expected of two members behind such NATs that are not behind the same one.
///
/// Both send to where the other was last seen from. With endpoint-independent mappings that is right, and each side's
/// own datagrams open its filter. A symmetric NAT sends from somewhere else: a filter that looks at the address alone,
/// or at nothing, lets it in, and the other side answers to where it came from. A filter that looks at the port lets
/// in what is guessed right: that takes a hole, which both sides have to make (`holes`). Two symmetric ones have to guess
/// each other, which their types alone promise nobody: it goes well where their ports come in a row or by Linux's rules.
pub fn predict(a: NatType, b: NatType, holes: bool) -> Prediction {
    use NatType::{FullCone, Open, PortRestrictedCone, RestrictedCone, Symmetric, Unknown};
    match (a, b) {
        (Unknown, _) | (_, Unknown) => Prediction::Perhaps,
        (Symmetric, Symmetric | PortRestrictedCone) | (PortRestrictedCone, Symmetric) if !holes => {
            Prediction::Relayed
        }
        (Symmetric, Symmetric) => Prediction::Perhaps,
        (Symmetric, PortRestrictedCone) | (PortRestrictedCone, Symmetric) => Prediction::Hole,
        (
            Open | FullCone | RestrictedCone | PortRestrictedCone | Symmetric,
            Open | FullCone | RestrictedCone | PortRestrictedCone | Symmetric,
        ) => Prediction::Direct,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use NatType::{FullCone, Open, PortRestrictedCone, RestrictedCone, Symmetric, Unknown};

    const ALL: [NatType; 6] = [
        Open,
        FullCone,
        RestrictedCone,
        PortRestrictedCone,
        Symmetric,
        Unknown,
    ];

    #[test]
    fn the_matrix_is_the_same_from_both_sides() {
        for a in ALL {
            for b in ALL {
                for holes in [true, false] {
                    assert_eq!(predict(a, b, holes), predict(b, a, holes), "{a:?} {b:?}");
                }
            }
        }
    }

    #[test]
    fn what_takes_guessing_takes_a_hole_or_a_relay() {
        let of = |wanted, holes| {
            let pairs = ALL.into_iter().enumerate().flat_map(|(i, a)| {
                let others = ALL.into_iter().skip(i);
                others.map(move |b| (a, b))
            });
            pairs
                .filter(|(a, b)| *b != Unknown && predict(*a, *b, holes) == wanted)
                .collect::<Vec<_>>()
        };
        let (one, both) = ((PortRestrictedCone, Symmetric), (Symmetric, Symmetric));
        assert_eq!(of(Prediction::Hole, true), [one]);
        assert_eq!(of(Prediction::Perhaps, true), [both]);
        assert_eq!(of(Prediction::Relayed, true), []);
        assert_eq!(of(Prediction::Hole, false), []);
        assert_eq!(of(Prediction::Perhaps, false), []);
        assert_eq!(of(Prediction::Relayed, false), [one, both]);
    }
}
