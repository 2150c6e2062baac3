//! What members write for members: signed by its author, sealed against everybody else, opaque to control planes.
//!
//! A [`Sealed`] body is nonce (24 bytes) ‖ XChaCha20-Poly1305 of (signature ‖ payload). The Ed25519 signature is
//! over the context ‖ payload, the seal binds the context as associated data, and the context is
//! domain ‖ tag ‖ kind ‖ author ‖ recipient (zeros when it is for all) ‖ epoch ‖ sequence. So nothing can be shown
//! as something else: another party's, another kind, another author's, for another reader, of another epoch or age.
//! Whoever ever had the party ID can open the group's seal: authorship follows from the signature alone.
//!
//! Opening proves who wrote it. Whether it is the newest, of the current epoch, and the author's to say is for the
//! reader to compare.

use crate::keys::{MemberKeys, PairKeys, PartyKeys};
use crate::punch::Aim;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use ed25519_dalek::Signer;
use lanrage_proto::admission::verified;
use lanrage_proto::control::Sealed;
use lanrage_proto::ids::{Epoch, Signature};
use lanrage_proto::ipc::NatType;
use lanrage_proto::limits;
use lanrage_proto::party_id::FoundingNonce;
use lanrage_proto::{
    Bytes, MemberId, PartyId, PartyName, PartyRange, PlayerName, SealPublic, Seq, Slot, WgPublic,
};
use rand_core::{CryptoRng, RngCore};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use thiserror::Error;

const DOMAIN: &[u8; 24] = b"LANrage 2026-11 sealed 1";
const NONCE: usize = 24;
const SIGNATURE: usize = 64;
/// A recipient that is nobody in particular.
const ALL: MemberId = MemberId([0; 32]);

/// Why something sealed is refused, or can't be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RecordError {
    /// It does not open: cut, altered, or sealed for another party, reader, kind, epoch or sequence number.
    #[error("the seal is broken or not for us")]
    Seal,
    /// It opens, but its author did not sign it.
    #[error("the author did not sign it")]
    Signature,
    /// The author signed it, and it can't be read: another version may write more.
    #[error("the content can't be read")]
    Form,
    /// It founds another party.
    #[error("the founding does not lead to the party ID")]
    Founding,
    /// It belongs to another founding.
    #[error("it does not follow from the party's founding")]
    Chain,
    /// It is longer than records and signals may be, or lists too many candidates.
    #[error("it is too long")]
    TooLong,
}

/// How a party began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Founding {
    /// The random half; with the author it makes the party ID.
    pub nonce: FoundingNonce,
    /// What the party is called.
    pub name: PartyName,
    /// The party's addresses.
    pub range: PartyRange,
    /// When, seconds since 1970 by the founder's clock.
    pub created: u64,
}

/// What a member tells all others about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What the player is called.
    pub name: PlayerName,
    /// From which pair keys follow.
    pub seal: SealPublic,
    /// Its end of WireGuard.
    pub wg: WgPublic,
    /// Its lease.
    pub slot: Slot,
    /// A random number for each run of its engine.
    pub session: u64,
    /// Where it might be reached, at most [`limits::CANDIDATES`].
    pub candidates: Vec<Candidate>,
    /// How its NAT treats it.
    pub nat: NatType,
    /// Whether it makes holes through NATs ([`crate::punch`]).
    pub holes: bool,
}

/// An address where a member might be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Candidate {
    /// How it was learnt.
    pub kind: CandidateKind,
    /// Where.
    pub at: SocketAddr,
}

/// How an address was learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CandidateKind {
    /// An address of the computer itself.
    Host,
    /// The address a control plane saw, with the member's own UDP port: right where nothing translates ports.
    Guess,
    /// An address that a relay listens on for the member (RFC 8656).
    Relayed,
    /// What STUN servers saw the member's datagrams come from (server-reflexive, RFC 8445 §5.1.1.2).
    Reflexive,
    /// A port that the member's router opened for it on request (UPnP, RFC 6886, RFC 6887).
    Mapped,
}

/// A member's last word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Word {
    /// The author leaves.
    Leave,
    /// The party ends; the host's to say.
    Dissolve,
}

/// What one member tells one other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Signal {
    /// "I am trying to reach you; try to reach me."
    Call {
        /// The caller's session number.
        session: u64,
        /// Where the caller might be reached, at most [`limits::CANDIDATES`].
        candidates: Vec<Candidate>,
    },
    /// "Let us make a hole through our NATs."
    Punch {
        /// The try's number, drawn by who proposes it.
        number: u64,
        /// How far it is.
        step: PunchStep,
    },
}

/// What two members say to each other about a try to make a hole through their NATs ([`crate::punch`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PunchStep {
    /// "Will you? I come from there."
    Ask(Aim),
    /// "I have begun. I come from there."
    Ready(Aim),
    /// "Not now."
    Busy,
}

impl Signal {
    fn candidates(&self) -> &[Candidate] {
        match self {
            Signal::Call { candidates, .. } => candidates,
            Signal::Punch { .. } => &[],
        }
    }
}

/// Seals how the party began; it is the first thing of all: epoch 0.
pub fn seal_founding(
    party: &PartyKeys,
    own: &MemberKeys,
    seq: Seq,
    founding: &Founding,
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<Sealed, RecordError> {
    Context::group(party, Kind::Founding, own.id(), Epoch(0), seq).seal(
        own,
        founding,
        limits::SEALED_RECORD,
        rng,
    )
}

/// Opens how the party began, and checks that it leads to this party's ID.
pub fn open_founding(party: &PartyKeys, sealed: &Sealed) -> Result<Founding, RecordError> {
    let founding: Founding =
        Context::of(party, Kind::Founding, sealed).open(sealed, limits::SEALED_RECORD)?;
    let is_ours =
        sealed.epoch == Epoch(0) && PartyId::of_founding(&sealed.author, &founding.nonce) == party.id;
    if is_ours {
        Ok(founding)
    } else {
        Err(RecordError::Founding)
    }
}

/// What the host's and the leavers' words are chained from: blake3 of the founding as it was signed and sealed.
pub fn founding_hash(founding: &Sealed) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("LANrage 2026-11 founding hash");
    hasher.update(founding.author.as_bytes());
    hasher.update(&founding.epoch.0.to_le_bytes());
    hasher.update(&founding.seq.0.to_le_bytes());
    hasher.update(founding.body.as_slice());
    *hasher.finalize().as_bytes()
}

/// Seals a member's record.
///
/// Errors: `TooLong` over [`limits::CANDIDATES`] candidates.
pub fn seal_record(
    party: &PartyKeys,
    own: &MemberKeys,
    epoch: Epoch,
    seq: Seq,
    record: &Record,
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<Sealed, RecordError> {
    few(&record.candidates)?;
    Context::group(party, Kind::Record, own.id(), epoch, seq).seal(own, record, limits::SEALED_RECORD, rng)
}

/// Opens a member's record.
pub fn open_record(party: &PartyKeys, sealed: &Sealed) -> Result<Record, RecordError> {
    let record: Record = Context::of(party, Kind::Record, sealed).open(sealed, limits::SEALED_RECORD)?;
    few(&record.candidates)?;
    Ok(record)
}

/// Seals a word that follows from the founding with this [`founding_hash`].
pub fn seal_word(
    party: &PartyKeys,
    own: &MemberKeys,
    epoch: Epoch,
    seq: Seq,
    word: Word,
    chain: &[u8; 32],
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<Sealed, RecordError> {
    Context::group(party, Kind::Word, own.id(), epoch, seq).seal(
        own,
        &(word, chain),
        limits::SEALED_RECORD,
        rng,
    )
}

/// Opens a word. Whether it is the author's to say is the caller's to check: only the host dissolves.
pub fn open_word(party: &PartyKeys, sealed: &Sealed, chain: &[u8; 32]) -> Result<Word, RecordError> {
    let (word, from): (Word, [u8; 32]) =
        Context::of(party, Kind::Word, sealed).open(sealed, limits::SEALED_RECORD)?;
    if from == *chain {
        Ok(word)
    } else {
        Err(RecordError::Chain)
    }
}

/// Seals something for one peer alone, with the pair's key of that direction.
///
/// Errors: `TooLong` over [`limits::CANDIDATES`] candidates.
#[expect(
    clippy::too_many_arguments,
    reason = "each is part of what is signed; none has a place to be kept together"
)]
pub fn seal_signal(
    party: &PartyKeys,
    pair: &PairKeys,
    own: &MemberKeys,
    to: &MemberId,
    epoch: Epoch,
    seq: Seq,
    signal: &Signal,
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<Sealed, RecordError> {
    few(signal.candidates())?;
    Context {
        key: &pair.to_peer.signal,
        party,
        kind: Kind::Signal,
        author: own.id(),
        recipient: *to,
        epoch,
        seq,
    }
    .seal(own, signal, limits::SEALED_SIGNAL, rng)
}

/// Opens what a peer sealed for this member alone.
pub fn open_signal(
    party: &PartyKeys,
    pair: &PairKeys,
    from: &MemberId,
    own: &MemberId,
    sealed: &Sealed,
) -> Result<Signal, RecordError> {
    if sealed.author != *from {
        return Err(RecordError::Signature);
    }
    let context = Context {
        key: &pair.from_peer.signal,
        recipient: *own,
        ..Context::of(party, Kind::Signal, sealed)
    };
    let signal: Signal = context.open(sealed, limits::SEALED_SIGNAL)?;
    few(signal.candidates())?;
    Ok(signal)
}

fn few(candidates: &[Candidate]) -> Result<(), RecordError> {
    if candidates.len() <= limits::CANDIDATES {
        Ok(())
    } else {
        Err(RecordError::TooLong)
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Founding = 1,
    Record = 2,
    Word = 3,
    Signal = 4,
}

/// Everything that gives a sealed thing its meaning.
struct Context<'a> {
    key: &'a [u8; 32],
    party: &'a PartyKeys,
    kind: Kind,
    author: MemberId,
    recipient: MemberId,
    epoch: Epoch,
    seq: Seq,
}

impl<'a> Context<'a> {
    /// Of something for all members.
    fn group(party: &'a PartyKeys, kind: Kind, author: MemberId, epoch: Epoch, seq: Seq) -> Self {
        Self {
            key: &party.group,
            party,
            kind,
            author,
            recipient: ALL,
            epoch,
            seq,
        }
    }

    /// Of something that came.
    fn of(party: &'a PartyKeys, kind: Kind, sealed: &Sealed) -> Self {
        Self::group(party, kind, sealed.author, sealed.epoch, sealed.seq)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend(DOMAIN);
        bytes.extend(self.party.tag.as_bytes());
        bytes.push(self.kind as u8);
        bytes.extend(self.author.as_bytes());
        bytes.extend(self.recipient.as_bytes());
        bytes.extend(self.epoch.0.to_le_bytes());
        bytes.extend(self.seq.0.to_le_bytes());
        bytes
    }

    fn seal(
        &self,
        own: &MemberKeys,
        content: &impl Serialize,
        limit: usize,
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<Sealed, RecordError> {
        let context = self.bytes();
        let payload = postcard::to_allocvec(content).map_err(|_| RecordError::Form)?;
        let signature = own
            .signing()
            .sign(&[context.as_slice(), &payload].concat())
            .to_bytes();
        let plain = [&signature[..], &payload].concat();
        let mut body = vec![0; NONCE];
        rng.fill_bytes(&mut body);
        let sealed = XChaCha20Poly1305::new(self.key.into())
            .encrypt(
                XNonce::from_slice(&body),
                Payload {
                    msg: &plain,
                    aad: &context,
                },
            )
            .map_err(|_| RecordError::TooLong)?;
        body.extend(sealed);
        if body.len() > limit {
            return Err(RecordError::TooLong);
        }
        Ok(Sealed {
            author: self.author,
            epoch: self.epoch,
            seq: self.seq,
            body: Bytes(body),
        })
    }

    fn open<T: DeserializeOwned>(&self, sealed: &Sealed, limit: usize) -> Result<T, RecordError> {
        let body = sealed.body.as_slice();
        if body.len() > limit {
            return Err(RecordError::TooLong);
        }
        let (nonce, body) = body.split_at_checked(NONCE).ok_or(RecordError::Seal)?;
        let mut context = self.bytes();
        let plain = XChaCha20Poly1305::new(self.key.into())
            .decrypt(
                XNonce::from_slice(nonce),
                Payload {
                    msg: body,
                    aad: &context,
                },
            )
            .map_err(|_| RecordError::Seal)?;
        let (signature, payload) = plain
            .split_first_chunk::<SIGNATURE>()
            .ok_or(RecordError::Signature)?;
        context.extend(payload);
        verified(self.author.as_bytes(), &context, &Signature(*signature)).ok_or(RecordError::Signature)?;
        match postcard::take_from_bytes(payload) {
            Ok((content, [])) => Ok(content),
            _ => Err(RecordError::Form),
        }
    }
}

#[cfg(test)]
mod tests;
