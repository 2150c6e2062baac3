//! The compatibility matrix: whether two members can be expected to reach each other directly.

use super::NatType;
use std::fmt;

/// What can be expected of a pair. Paths are tried whatever it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prediction {
    /// A direct path.
    Direct,
    /// A direct path with luck, or not known.
    Perhaps,
    /// A relay.
    Relayed,
}

impl fmt::Display for Prediction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Prediction::Direct => "direct",
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
/// in what is guessed right, and two symmetric ones would have to guess each other.
pub fn predict(a: NatType, b: NatType) -> Prediction {
    use NatType::{FullCone, Open, PortRestrictedCone, RestrictedCone, Symmetric, Unknown};
    match (a, b) {
        (Unknown, _) | (_, Unknown) => Prediction::Perhaps,
        (Symmetric, Symmetric) => Prediction::Relayed,
        (Symmetric, PortRestrictedCone) | (PortRestrictedCone, Symmetric) => Prediction::Perhaps,
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
                assert_eq!(predict(a, b), predict(b, a), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn a_relay_is_expected_only_where_both_sides_would_have_to_guess() {
        let of = |wanted| {
            let pairs = ALL.into_iter().enumerate().flat_map(|(i, a)| {
                let others = ALL.into_iter().skip(i);
                others.map(move |b| (a, b))
            });
            pairs
                .filter(|(a, b)| predict(*a, *b) == wanted)
                .collect::<Vec<_>>()
        };
        assert_eq!(of(Prediction::Relayed), [(Symmetric, Symmetric)]);
        let known: Vec<_> = of(Prediction::Perhaps)
            .into_iter()
            .filter(|(_, b)| *b != Unknown)
            .collect();
        assert_eq!(known, [(PortRestrictedCone, Symmetric)]);
    }
}
