//! The party ID: what friends share, and the key to the party.

use crate::ids::MemberId;
use rand_core::{CryptoRng, RngCore};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroize;

/// Crockford's base32 alphabet: no I, L, O, U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Symbols that carry bits; one more checks them.
const DATA_SYMBOLS: usize = 19;
/// Symbols in all.
const SYMBOLS: usize = DATA_SYMBOLS + 1;
/// Symbols between two dashes.
const GROUP: usize = 4;
/// 19 symbols of 5 bits.
const BITS: u32 = 95;

/// 95 bits drawn from a party's founding, written as five groups of four symbols:
/// `K7QF-9M2X-RT4B-W8HD-5NC7`. Who has it can join. It is a secret: `Debug` hides it, logs never hold it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PartyId(u128);

/// Why a text is no party ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PartyIdError {
    /// Not twenty symbols.
    #[error("a party ID has {SYMBOLS} letters and digits")]
    Length,
    /// A letter or sign that party IDs do not use.
    #[error("a party ID has only letters and digits, and never a U")]
    Symbol,
    /// All there, but mistyped somewhere.
    #[error("the party ID is mistyped: its last symbol does not fit the others")]
    Check,
}

/// The random half of a party's founding; with the founder's identity it makes the party ID.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize)]
pub struct FoundingNonce(pub [u8; 32]);

impl FoundingNonce {
    /// A fresh one.
    pub fn draw(rng: &mut (impl RngCore + CryptoRng)) -> Self {
        let mut bytes = [0; 32];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }
}

impl std::fmt::Debug for FoundingNonce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FoundingNonce(…)")
    }
}

impl PartyId {
    /// The ID of the party that `founder` founds with `nonce`: so the ID itself proves who founded it.
    pub fn of_founding(founder: &MemberId, nonce: &FoundingNonce) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("LANrage 2026-11 party id of founding");
        hasher.update(founder.as_bytes());
        hasher.update(&nonce.0);
        let mut first = [0; 16];
        hasher.finalize_xof().fill(&mut first);
        Self(u128::from_be_bytes(first) >> (128 - BITS))
    }

    /// Reads an ID that stands alone. Case, spaces and dashes do not matter; I and L are read as 1, O as 0.
    pub fn parse(text: &str) -> Result<Self, PartyIdError> {
        let mut symbols = [0u8; SYMBOLS];
        let mut count = 0;
        for c in text.chars().filter(|c| !c.is_whitespace() && !is_dash(*c)) {
            let symbol = value_of(c).ok_or(PartyIdError::Symbol)?;
            *symbols.get_mut(count).ok_or(PartyIdError::Length)? = symbol;
            count += 1;
        }
        if count != SYMBOLS {
            return Err(PartyIdError::Length);
        }
        let data = &symbols[..DATA_SYMBOLS];
        if check_symbol(data) != symbols[DATA_SYMBOLS] {
            return Err(PartyIdError::Check);
        }
        Ok(Self(
            data.iter()
                .fold(0, |bits, symbol| bits << 5 | u128::from(*symbol)),
        ))
    }

    /// The first ID in dashed form inside a longer text, such as a line from a chat.
    ///
    /// Errors: the reason why the likeliest candidate is none, or `Length` where there is nothing like an ID.
    pub fn find_in(text: &str) -> Result<Self, PartyIdError> {
        let mut nearest = PartyIdError::Length;
        for word in text.split(|c: char| !(c.is_ascii_alphanumeric() || is_dash(c))) {
            let word = word.trim_matches(is_dash);
            let groups: Vec<&str> = word.split(is_dash).collect();
            if groups.len() == SYMBOLS / GROUP && groups.iter().all(|group| group.len() == GROUP) {
                match Self::parse(word) {
                    Ok(id) => return Ok(id),
                    Err(error) => nearest = error,
                }
            }
        }
        Err(nearest)
    }

    /// The 95 bits, in the low end; input of the keys derived from the ID.
    pub fn bits(&self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    fn data_symbols(self) -> [u8; DATA_SYMBOLS] {
        let mut symbols = [0; DATA_SYMBOLS];
        for (i, symbol) in symbols.iter_mut().rev().enumerate() {
            *symbol = (self.0 >> (5 * i)) as u8 & 31;
        }
        symbols
    }
}

fn is_dash(c: char) -> bool {
    // Hyphens and dashes that chat programs put in the place of '-'.
    matches!(c, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}')
}

fn value_of(c: char) -> Option<u8> {
    let c = match c.to_ascii_uppercase() {
        'I' | 'L' => '1',
        'O' => '0',
        c => c,
    };
    ALPHABET
        .iter()
        .position(|symbol| char::from(*symbol) == c)
        .map(|i| i as u8)
}

/// Luhn's algorithm modulo 32: catches each single wrong symbol and nearly each swap of neighbours.
fn check_symbol(data: &[u8]) -> u8 {
    let sum: u32 = data
        .iter()
        .rev()
        .enumerate()
        .map(|(i, symbol)| {
            let addend = u32::from(*symbol) * if i % 2 == 0 { 2 } else { 1 };
            addend / 32 + addend % 32
        })
        .sum();
    ((32 - sum % 32) % 32) as u8
}

impl std::fmt::Display for PartyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let data = self.data_symbols();
        for (i, symbol) in data.iter().chain([&check_symbol(&data)]).enumerate() {
            if i > 0 && i % GROUP == 0 {
                f.write_str("-")?;
            }
            write!(f, "{}", char::from(ALPHABET[usize::from(*symbol)]))?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for PartyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PartyId(…)")
    }
}

impl TryFrom<String> for PartyId {
    type Error = PartyIdError;
    fn try_from(text: String) -> Result<Self, PartyIdError> {
        Self::parse(&text)
    }
}

impl From<PartyId> for String {
    fn from(id: PartyId) -> String {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ids() -> impl Strategy<Value = PartyId> {
        any::<u128>().prop_map(|bits| PartyId(bits >> (128 - BITS)))
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_however_it_is_typed(id in ids()) {
            let text = id.to_string();
            prop_assert_eq!(text.len(), 24);
            prop_assert_eq!(PartyId::parse(&text), Ok(id));
            let sloppy = text.to_lowercase().replace('-', " ").replace('0', "o").replace('1', "l");
            prop_assert_eq!(PartyId::parse(&sloppy), Ok(id));
            let chat = format!("join us at 8, it is ({text})! bring-your-own-game-2026");
            prop_assert_eq!(PartyId::find_in(&chat), Ok(id));
        }

        #[test]
        fn one_wrong_symbol_is_noticed(id in ids(), place in 0..SYMBOLS, other in 0..32usize) {
            let mut text: Vec<char> = id.to_string().chars().filter(|c| *c != '-').collect();
            let wrong = char::from(ALPHABET[other]);
            prop_assume!(text[place] != wrong);
            text[place] = wrong;
            let text: String = text.into_iter().collect();
            prop_assert_eq!(PartyId::parse(&text), Err(PartyIdError::Check));
        }
    }

    #[test]
    fn other_texts_say_what_is_wrong_with_them() {
        assert_eq!(PartyId::parse(""), Err(PartyIdError::Length));
        assert_eq!(PartyId::parse("K7QF"), Err(PartyIdError::Length));
        assert_eq!(PartyId::parse(&"K".repeat(21)), Err(PartyIdError::Length));
        assert_eq!(
            PartyId::parse("UUUU-UUUU-UUUU-UUUU-UUUU"),
            Err(PartyIdError::Symbol)
        );
        assert_eq!(PartyId::find_in("hello there"), Err(PartyIdError::Length));
    }
}
