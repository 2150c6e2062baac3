//! Every key a member holds, and how one follows from another.
//!
//! From the *party ID* follow the keys that all members share ([`PartyKeys`]); from the *device seed* and the
//! party the three key pairs that make one member ([`MemberKeys`]); from two members' seal keys and the party the
//! keys that only those two hold ([`PairKeys`]). Each derivation has a blake3 context of its own, so that no key
//! serves two purposes, and one device's parties can't be linked.

use ed25519_dalek::SigningKey;
use lanrage_proto::ids::Epoch;
use lanrage_proto::party_id::FoundingNonce;
use lanrage_proto::{MemberId, PartyId, SealPublic, Tag, WgPublic, admission};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// A key for symmetric ciphers and keyed hashes; wiped when dropped.
pub(crate) type Key = Zeroizing<[u8; 32]>;

/// 32 random bytes made once for each device, from which all its members' keys follow.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct DeviceSeed([u8; 32]);

impl DeviceSeed {
    /// The seed that was saved.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The seed, to be saved.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0)
    }
}

impl std::fmt::Debug for DeviceSeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DeviceSeed(…)")
    }
}

/// What whoever holds the party ID holds.
#[derive(Clone)]
pub struct PartyKeys {
    /// The party ID itself.
    pub id: PartyId,
    /// What control planes know the party by.
    pub tag: Tag,
    /// Keys the hashes in adverts on the local network.
    pub discovery: [u8; 32],
    pub(crate) group: Key,
    base: Key,
}

impl PartyKeys {
    /// The keys that follow from the party ID.
    pub fn of(id: &PartyId) -> Self {
        let key = |context| blake3::derive_key(context, &id.bits());
        Self {
            id: *id,
            tag: admission::tag(id),
            discovery: key("LANrage 2026-11 discovery key"),
            group: Zeroizing::new(key("LANrage 2026-11 group key")),
            base: Zeroizing::new(key("LANrage 2026-11 psk base")),
        }
    }
}

impl std::fmt::Debug for PartyKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartyKeys")
            .field("tag", &self.tag)
            .finish_non_exhaustive()
    }
}

/// By which an advert that carries `nonce` shows those who know the party that it is the party's, and nobody else
/// anything.
pub fn discovery_hash(discovery: &[u8; 32], nonce: &[u8]) -> [u8; 16] {
    let mut hash = [0; 16];
    blake3::Hasher::new_keyed(discovery)
        .update(nonce)
        .finalize_xof()
        .fill(&mut hash);
    hash
}

/// One member's own key pairs within one party.
#[derive(Clone)]
pub struct MemberKeys {
    sign: SigningKey,
    seal: StaticSecret,
    wg: StaticSecret,
}

impl MemberKeys {
    /// The founder's. They come before the party ID, which is drawn from them, so the nonce stands for the party.
    pub fn founder(seed: &DeviceSeed, nonce: &FoundingNonce) -> Self {
        Self::derive(seed, b"founder", &nonce.0)
    }

    /// A joiner's.
    pub fn joiner(seed: &DeviceSeed, tag: &Tag) -> Self {
        Self::derive(seed, b"joiner.", tag.as_bytes())
    }

    fn derive(seed: &DeviceSeed, role: &[u8; 7], party: &[u8; 32]) -> Self {
        let key = |context| derive(context, &[&seed.0, role, party]);
        Self {
            sign: SigningKey::from_bytes(&key("LANrage 2026-11 member sign key")),
            seal: StaticSecret::from(*key("LANrage 2026-11 member seal key")),
            wg: StaticSecret::from(*key("LANrage 2026-11 member WireGuard key")),
        }
    }

    /// Who the member is.
    pub fn id(&self) -> MemberId {
        MemberId(self.sign.verifying_key().to_bytes())
    }

    /// The public half of the seal key.
    pub fn seal_public(&self) -> SealPublic {
        SealPublic(PublicKey::from(&self.seal).to_bytes())
    }

    /// The public half of the WireGuard key.
    pub fn wg_public(&self) -> WgPublic {
        WgPublic(PublicKey::from(&self.wg).to_bytes())
    }

    /// The WireGuard private key, for the peer table.
    pub fn wg_secret(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.wg.to_bytes())
    }

    /// What the member signs with.
    pub fn signing(&self) -> &SigningKey {
        &self.sign
    }
}

impl std::fmt::Debug for MemberKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MemberKeys({:?})", self.id())
    }
}

/// What two members, and no third one, hold.
#[derive(Clone)]
pub struct PairKeys {
    /// For WireGuard, from the party and both WireGuard keys; both sides derive the same one.
    pub psk: Zeroizing<[u8; 32]>,
    pub(crate) to_peer: Direction,
    pub(crate) from_peer: Direction,
}

/// The keys of one direction between two members.
#[derive(Clone)]
pub(crate) struct Direction {
    pub(crate) probe: Key,
    pub(crate) signal: Key,
    index: Key,
}

impl PairKeys {
    /// The keys shared with a peer in an epoch. `None` when the peer's keys are ones that lead to a secret anybody
    /// knows (points of low order, RFC 7748 §6.1), or when the peer is this member itself.
    pub fn derive(
        party: &PartyKeys,
        own: &MemberKeys,
        peer: &MemberId,
        peer_seal: &SealPublic,
        peer_wg: &WgPublic,
        epoch: Epoch,
    ) -> Option<Self> {
        let own_id = own.id();
        let secret = own.seal.diffie_hellman(&PublicKey::from(peer_seal.0));
        let tunnel = own.wg.diffie_hellman(&PublicKey::from(peer_wg.0));
        if own_id == *peer || !secret.was_contributory() || !tunnel.was_contributory() {
            return None;
        }
        let own_seal = own.seal_public();
        let (first, second) = ordered(
            (own_id.as_bytes(), own_seal.as_bytes()),
            (peer.as_bytes(), peer_seal.as_bytes()),
        );
        let pair = derive(
            "LANrage 2026-11 pair secret",
            &[
                party.base.as_slice(),
                secret.as_bytes(),
                &epoch.0.to_le_bytes(),
                first.0,
                second.0,
                first.1,
                second.1,
            ],
        );
        let own_wg = own.wg_public();
        let (low, high) = ordered(own_wg.as_bytes(), peer_wg.as_bytes());
        Some(Self {
            psk: derive(
                "LANrage 2026-11 WireGuard pre-shared key",
                &[party.base.as_slice(), low, high],
            ),
            to_peer: Direction::derive(&pair, &own_id, peer),
            from_peer: Direction::derive(&pair, peer, &own_id),
        })
    }

    /// The index by which the receiver of a probe knows whose it is, for as long as the receiver's session lasts.
    /// With `to_peer` the peer is the receiver and `receiver_session` is its session number, else both are ours.
    pub fn probe_index(&self, receiver_session: u64, to_peer: bool) -> [u8; 8] {
        let key = if to_peer {
            &self.to_peer.index
        } else {
            &self.from_peer.index
        };
        let hash = blake3::keyed_hash(key, &receiver_session.to_le_bytes());
        let mut index = [0; 8];
        index.copy_from_slice(&hash.as_bytes()[..8]);
        // WireGuard's messages have three zeros here; a probe must never pass for one.
        if index[1..4] == [0; 3] {
            index[1] = 1;
        }
        index
    }
}

impl std::fmt::Debug for PairKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PairKeys(…)")
    }
}

impl Direction {
    fn derive(pair: &Key, from: &MemberId, to: &MemberId) -> Self {
        let key = |context| derive(context, &[pair.as_slice(), from.as_bytes(), to.as_bytes()]);
        Self {
            probe: key("LANrage 2026-11 probe key"),
            signal: key("LANrage 2026-11 signal key"),
            index: key("LANrage 2026-11 probe index key"),
        }
    }
}

/// blake3's key derivation over parts, each of a length fixed by the context.
pub(crate) fn derive(context: &'static str, parts: &[&[u8]]) -> Key {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(part);
    }
    let key = Zeroizing::new(*hasher.finalize().as_bytes());
    hasher.zeroize();
    key
}

/// Both in an order that does not depend on who asks.
pub(crate) fn ordered<T: Ord>(a: T, b: T) -> (T, T) {
    if a <= b { (a, b) } else { (b, a) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn party(n: u8) -> PartyKeys {
        PartyKeys::of(&PartyId::of_founding(&MemberId([n; 32]), &FoundingNonce([n; 32])))
    }

    fn member(n: u8) -> MemberKeys {
        MemberKeys::joiner(&DeviceSeed::from_bytes([n; 32]), &party(1).tag)
    }

    fn pair(party: &PartyKeys, own: &MemberKeys, peer: &MemberKeys, epoch: u32) -> PairKeys {
        PairKeys::derive(
            party,
            own,
            &peer.id(),
            &peer.seal_public(),
            &peer.wg_public(),
            Epoch(epoch),
        )
        .unwrap()
    }

    #[test]
    fn both_sides_of_a_pair_derive_the_same_keys() {
        let (anna, tom, party) = (member(1), member(2), party(1));
        let (at_anna, at_tom) = (pair(&party, &anna, &tom, 0), pair(&party, &tom, &anna, 0));
        assert_eq!(at_anna.psk, at_tom.psk);
        assert_eq!(at_anna.to_peer.probe, at_tom.from_peer.probe);
        assert_eq!(at_anna.from_peer.signal, at_tom.to_peer.signal);
        assert_eq!(at_anna.probe_index(7, true), at_tom.probe_index(7, false));
        assert_eq!(at_anna.probe_index(7, false), at_tom.probe_index(7, true));
    }

    #[test]
    fn no_key_of_a_pair_serves_twice() {
        let (anna, tom, zoe) = (member(1), member(2), member(3));
        let here = pair(&party(1), &anna, &tom, 0);
        let mut keys = vec![
            *here.psk,
            *here.to_peer.probe,
            *here.from_peer.probe,
            *here.to_peer.signal,
            *here.from_peer.signal,
            *here.to_peer.index,
            *here.from_peer.index,
            *pair(&party(1), &anna, &tom, 1).to_peer.probe,
            *pair(&party(2), &anna, &tom, 0).to_peer.probe,
            *pair(&party(2), &anna, &tom, 0).psk,
            *pair(&party(1), &anna, &zoe, 0).to_peer.probe,
            *pair(&party(1), &anna, &zoe, 0).psk,
        ];
        let count = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), count);
        assert_ne!(here.probe_index(7, true), here.probe_index(8, true));
        assert_ne!(here.probe_index(7, true), here.probe_index(7, false));
    }

    #[test]
    fn keys_that_lead_to_a_known_secret_make_no_pair() {
        let (anna, tom, party) = (member(1), member(2), party(1));
        // The point of order 1 and one of order 8 (RFC 7748's u-coordinates 0 and 1).
        for low in [[0; 32], std::array::from_fn(|i| u8::from(i == 0))] {
            let derive = |seal, wg| PairKeys::derive(&party, &anna, &tom.id(), &seal, &wg, Epoch(0));
            assert!(derive(SealPublic(low), tom.wg_public()).is_none());
            assert!(derive(tom.seal_public(), WgPublic(low)).is_none());
        }
        assert!(
            PairKeys::derive(
                &party,
                &anna,
                &anna.id(),
                &tom.seal_public(),
                &tom.wg_public(),
                Epoch(0)
            )
            .is_none()
        );
    }

    #[test]
    fn one_devices_members_share_nothing() {
        let seed = DeviceSeed::from_bytes([5; 32]);
        let (a, b) = (
            MemberKeys::joiner(&seed, &party(1).tag),
            MemberKeys::joiner(&seed, &party(2).tag),
        );
        let c = MemberKeys::founder(&seed, &FoundingNonce(party(1).tag.0));
        for (x, y) in [(&a, &b), (&a, &c), (&b, &c)] {
            assert_ne!(x.id(), y.id());
            assert_ne!(x.seal_public(), y.seal_public());
            assert_ne!(x.wg_public(), y.wg_public());
        }
        assert_ne!(a.seal_public().0, a.wg_public().0);
        assert_eq!(a.id(), MemberKeys::joiner(&seed, &party(1).tag).id());
    }

    #[test]
    fn an_advert_is_recognised_by_those_who_know_the_party() {
        let (a, b) = (party(1), party(2));
        assert_eq!(
            discovery_hash(&a.discovery, b"n1"),
            discovery_hash(&party(1).discovery, b"n1")
        );
        assert_ne!(
            discovery_hash(&a.discovery, b"n1"),
            discovery_hash(&b.discovery, b"n1")
        );
        assert_ne!(
            discovery_hash(&a.discovery, b"n1"),
            discovery_hash(&a.discovery, b"n2")
        );
    }

    #[test]
    fn no_debug_text_shows_a_secret() {
        let keys = member(1);
        let text = format!(
            "{:?} {:?} {:?} {:?}",
            DeviceSeed::from_bytes([1; 32]),
            party(1),
            keys,
            pair(&party(1), &keys, &member(2), 0)
        );
        assert!(!text.contains("1, 1, 1") && !text.contains("01010101"), "{text}");
    }
}
