//! Admission: how a control plane learns that somebody holds a party's ID, and nothing more.
//!
//! From the party ID follows an Ed25519 key pair. A control plane knows the party by the blake3 of the public
//! half (the tag); who wants in signs the control plane's challenge with it and with its own identity. The
//! signatures cover the authority that was dialled, so that a hostile server can't relay them to another.

use crate::bytes::Bytes;
use crate::ids::{Challenge, MemberId, Signature, Tag};
use crate::party_id::PartyId;
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Signatures that prove the holding of a party's ID and of an identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The public half of the admission key; its blake3 is the tag.
    pub admission: Bytes,
    /// By the admission key.
    pub admission_signature: Signature,
    /// Who is there.
    pub identity: MemberId,
    /// By the identity.
    pub identity_signature: Signature,
}

/// What a proof did not prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ProofError {
    /// The admission key is not this party's, or its signature is wrong.
    #[error("the proof of holding the party ID is wrong")]
    Admission,
    /// The identity's signature is wrong.
    #[error("the proof of identity is wrong")]
    Identity,
}

/// The key that whoever holds the party ID holds.
fn admission_key(id: &PartyId) -> SigningKey {
    SigningKey::from_bytes(&blake3::derive_key("LANrage 2026-11 admission key", &id.bits()))
}

/// What the party is known by to control planes.
pub fn tag(id: &PartyId) -> Tag {
    tag_of(admission_key(id).verifying_key().as_bytes())
}

fn tag_of(admission: &[u8]) -> Tag {
    Tag(*blake3::hash(admission).as_bytes())
}

fn transcript(challenge: &Challenge, authority: &str, tag: &Tag, identity: &MemberId) -> Vec<u8> {
    let mut text = b"LANrage 2026-11 admission proof".to_vec();
    text.extend(challenge.as_bytes());
    text.extend(tag.as_bytes());
    text.extend(identity.as_bytes());
    // Last, as it alone has no fixed length.
    text.extend(authority.as_bytes());
    text
}

impl Proof {
    /// Proves to the control plane dialled at `authority` that this side holds `id` and the identity's key.
    pub fn make(id: &PartyId, identity: &SigningKey, challenge: &Challenge, authority: &str) -> Self {
        let admission = admission_key(id);
        let public = admission.verifying_key();
        let member = MemberId(identity.verifying_key().to_bytes());
        let text = transcript(challenge, authority, &tag_of(public.as_bytes()), &member);
        Self {
            admission: Bytes(public.to_bytes().to_vec()),
            admission_signature: Signature(admission.sign(&text).to_bytes()),
            identity: member,
            identity_signature: Signature(identity.sign(&text).to_bytes()),
        }
    }

    /// Checks both signatures; the control plane looks nothing up before.
    pub fn verify(&self, tag: &Tag, challenge: &Challenge, authority: &str) -> Result<(), ProofError> {
        let admission: [u8; 32] = self
            .admission
            .as_slice()
            .try_into()
            .map_err(|_| ProofError::Admission)?;
        if tag_of(&admission) != *tag {
            return Err(ProofError::Admission);
        }
        let text = transcript(challenge, authority, tag, &self.identity);
        verified(&admission, &text, &self.admission_signature).ok_or(ProofError::Admission)?;
        verified(self.identity.as_bytes(), &text, &self.identity_signature).ok_or(ProofError::Identity)
    }
}

/// `Some` when `signature` over `text` is by `key`; strict, so that no key or signature has a second form.
pub fn verified(key: &[u8; 32], text: &[u8], signature: &Signature) -> Option<()> {
    let signature = ed25519_dalek::Signature::from_bytes(signature.as_bytes());
    VerifyingKey::from_bytes(key)
        .ok()?
        .verify_strict(text, &signature)
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::party_id::FoundingNonce;

    #[test]
    fn a_proof_holds_for_its_party_challenge_and_server_alone() {
        let identity = SigningKey::from_bytes(&[1; 32]);
        let founder = MemberId(identity.verifying_key().to_bytes());
        let id = PartyId::of_founding(&founder, &FoundingNonce([2; 32]));
        let other = PartyId::of_founding(&founder, &FoundingNonce([3; 32]));
        let challenge = Challenge([4; 32]);
        let proof = Proof::make(&id, &identity, &challenge, "party.example.org:443");
        assert_eq!(
            proof.verify(&tag(&id), &challenge, "party.example.org:443"),
            Ok(())
        );
        assert!(
            proof
                .verify(&tag(&other), &challenge, "party.example.org:443")
                .is_err()
        );
        assert!(
            proof
                .verify(&tag(&id), &Challenge([5; 32]), "party.example.org:443")
                .is_err()
        );
        assert!(
            proof
                .verify(&tag(&id), &challenge, "evil.example.org:443")
                .is_err()
        );
        let mut stolen = proof.clone();
        stolen.identity = MemberId([9; 32]);
        assert!(
            stolen
                .verify(&tag(&id), &challenge, "party.example.org:443")
                .is_err()
        );
    }
}
