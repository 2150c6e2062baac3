//! Security identifiers: who someone is on Windows ([MS-DTYP] §2.4.2).

use std::fmt;

/// A security identifier in its binary form: revision, count of sub-authorities, authority (6 bytes, big-endian),
/// sub-authorities (4 bytes each, little-endian).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sid(Box<[u8]>);

/// LocalSystem, whose rights are root's: S-1-5-18.
const SYSTEM: &[u8] = &[1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0];
/// The group of administrators: S-1-5-32-544. The system makes it the owner of what they create.
const ADMINISTRATORS: &[u8] = &[1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0];

impl Sid {
    /// From the binary form; `None` when that is none.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&[revision, count], _) = bytes.split_first_chunk()?;
        let whole = revision == 1 && bytes.len() == 8 + 4 * usize::from(count);
        whole.then(|| Self(bytes.into()))
    }

    /// Whether this is LocalSystem.
    pub(crate) fn is_system(&self) -> bool {
        *self.0 == *SYSTEM
    }

    /// Whether this is LocalSystem or the group of administrators.
    pub(crate) fn is_systems_own(&self) -> bool {
        self.is_system() || *self.0 == *ADMINISTRATORS
    }

    /// Stands for a user number, which Windows has none of: 0 for LocalSystem, else a hash (FNV-1a), so that the
    /// same user has the same number for ever. That two users of one computer share one is a matter of one in
    /// four billion, and nobody chooses their identifier.
    pub(crate) fn number(&self) -> u32 {
        if self.is_system() {
            return 0;
        }
        let hash = self.0.iter().fold(0x811c_9dc5_u32, |hash, &byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        hash.max(1)
    }
}

/// As people and SDDL write it: `S-1-5-18`.
impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (head, rest) = self.0.split_at(8);
        let authority = head[2..]
            .iter()
            .fold(0u64, |number, &byte| number << 8 | u64::from(byte));
        write!(f, "S-{}-{authority}", head[0])?;
        for part in rest.chunks_exact(4) {
            let number = part
                .iter()
                .rev()
                .fold(0u32, |number, &byte| number << 8 | u32::from(byte));
            write!(f, "-{number}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANNA: &[u8] = &[
        1, 5, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0xe9, 3, 0, 0,
    ];

    fn sid(bytes: &[u8]) -> Sid {
        Sid::from_bytes(bytes).unwrap()
    }

    #[test]
    fn identifiers_read_as_the_system_writes_them() {
        assert_eq!(sid(SYSTEM).to_string(), "S-1-5-18");
        assert_eq!(sid(ADMINISTRATORS).to_string(), "S-1-5-32-544");
        assert_eq!(sid(ANNA).to_string(), "S-1-5-21-1-2-3-1001");
    }

    #[test]
    fn only_local_system_has_roots_number() {
        assert_eq!(sid(SYSTEM).number(), 0);
        let mut tom = ANNA.to_vec();
        tom[24] += 1;
        let (anna, tom) = (sid(ANNA).number(), sid(&tom).number());
        assert!(anna != 0 && tom != 0 && anna != tom);
        // Owners of parties are kept by this number: it may never change.
        assert_eq!(anna, 0x072e_ac91);
        assert!(sid(ADMINISTRATORS).number() != 0);
        assert!(sid(ADMINISTRATORS).is_systems_own() && !sid(ANNA).is_systems_own());
    }

    #[test]
    fn what_is_cut_off_or_too_long_is_no_identifier() {
        for bytes in [&[][..], &[1], &SYSTEM[..11], &[1, 0, 0, 0, 0, 0, 0, 5, 9]] {
            assert_eq!(Sid::from_bytes(bytes), None);
        }
        assert_eq!(Sid::from_bytes(&[2, 0, 0, 0, 0, 0, 0, 5]), None);
    }
}
