use super::*;
use crate::keys::DeviceSeed;
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::net::Ipv6Addr;

struct World {
    nonce: FoundingNonce,
    founder: MemberKeys,
    party: PartyKeys,
    tom: MemberKeys,
    rng: ChaCha20Rng,
}

impl World {
    fn new() -> Self {
        let nonce = FoundingNonce([7; 32]);
        let founder = MemberKeys::founder(&DeviceSeed::from_bytes([1; 32]), &nonce);
        let party = PartyKeys::of(&PartyId::of_founding(&founder.id(), &nonce));
        let tom = MemberKeys::joiner(&DeviceSeed::from_bytes([2; 32]), &party.tag);
        Self {
            nonce,
            founder,
            party,
            tom,
            rng: ChaCha20Rng::from_seed([3; 32]),
        }
    }

    fn founding(&self) -> Founding {
        Founding {
            nonce: self.nonce.clone(),
            name: PartyName::parse("Friday night").unwrap(),
            range: PartyRange::DEFAULT,
            created: 1_800_000_000,
        }
    }

    fn record(&self, candidates: usize) -> Record {
        Record {
            name: PlayerName::parse(&"ö".repeat(40)).unwrap(),
            seal: self.tom.seal_public(),
            wg: self.tom.wg_public(),
            slot: Slot::MAX,
            session: u64::MAX,
            candidates: (0..candidates)
                .map(|i| Candidate {
                    kind: CandidateKind::Guess,
                    at: SocketAddr::new(Ipv6Addr::from(u128::MAX - i as u128).into(), 65535),
                })
                .collect(),
            nat: NatType::Symmetric,
            holes: true,
        }
    }

    fn sealed_record(&mut self) -> Sealed {
        let record = self.record(2);
        seal_record(&self.party, &self.tom, Epoch(1), Seq(5), &record, &mut self.rng).unwrap()
    }

    fn pair(&self, own: &MemberKeys, peer: &MemberKeys) -> PairKeys {
        PairKeys::derive(
            &self.party,
            own,
            &peer.id(),
            &peer.seal_public(),
            &peer.wg_public(),
            Epoch(0),
        )
        .unwrap()
    }
}

#[test]
fn a_founding_proves_the_party_id() {
    let mut world = World::new();
    let founding = world.founding();
    let sealed = seal_founding(&world.party, &world.founder, Seq(1), &founding, &mut world.rng).unwrap();
    assert_eq!(open_founding(&world.party, &sealed), Ok(founding.clone()));

    // Whoever has the ID can seal; the ID still says who founded.
    let usurped = seal_founding(&world.party, &world.tom, Seq(1), &founding, &mut world.rng).unwrap();
    assert_eq!(open_founding(&world.party, &usurped), Err(RecordError::Founding));
    let other = Founding {
        nonce: FoundingNonce([8; 32]),
        ..founding
    };
    let sealed = seal_founding(&world.party, &world.founder, Seq(1), &other, &mut world.rng).unwrap();
    assert_eq!(open_founding(&world.party, &sealed), Err(RecordError::Founding));
}

#[test]
fn the_longest_record_fits_and_one_candidate_more_is_refused() {
    let mut world = World::new();
    let mut record = world.record(limits::CANDIDATES);
    let sealed = seal_record(
        &world.party,
        &world.tom,
        Epoch(1),
        Seq(5),
        &record,
        &mut world.rng,
    )
    .unwrap();
    assert!(sealed.body.len() <= limits::SEALED_RECORD);
    assert_eq!(open_record(&world.party, &sealed), Ok(record.clone()));

    record.candidates.push(record.candidates[0]);
    let refused = seal_record(
        &world.party,
        &world.tom,
        Epoch(1),
        Seq(5),
        &record,
        &mut world.rng,
    );
    assert_eq!(refused, Err(RecordError::TooLong));
    // A member that does not hold itself to that is refused by the others.
    let sealed = Context::group(&world.party, Kind::Record, world.tom.id(), Epoch(1), Seq(5))
        .seal(&world.tom, &record, 1000, &mut world.rng)
        .unwrap();
    assert_eq!(open_record(&world.party, &sealed), Err(RecordError::TooLong));
}

#[test]
fn nothing_around_a_record_can_be_changed() {
    let mut world = World::new();
    let sealed = world.sealed_record();
    assert!(open_record(&world.party, &sealed).is_ok());
    let refused = |sealed: Sealed| assert_eq!(open_record(&world.party, &sealed), Err(RecordError::Seal));
    refused(Sealed {
        author: world.founder.id(),
        ..sealed.clone()
    });
    refused(Sealed {
        epoch: Epoch(2),
        ..sealed.clone()
    });
    refused(Sealed {
        seq: Seq(6),
        ..sealed.clone()
    });
    assert_eq!(open_word(&world.party, &sealed, &[0; 32]), Err(RecordError::Seal));
    assert_eq!(open_founding(&world.party, &sealed), Err(RecordError::Seal));
    let elsewhere = PartyKeys::of(&PartyId::of_founding(&world.tom.id(), &world.nonce));
    assert_eq!(open_record(&elsewhere, &sealed), Err(RecordError::Seal));
}

#[test]
fn a_record_that_says_more_than_is_known_is_its_authors_and_of_another_version() {
    let mut world = World::new();
    let more = (world.record(2), "and where I play");
    let sealed = Context::group(&world.party, Kind::Record, world.tom.id(), Epoch(0), Seq(1))
        .seal(&world.tom, &more, limits::SEALED_RECORD, &mut world.rng)
        .unwrap();
    assert_eq!(open_record(&world.party, &sealed), Err(RecordError::Form));
}

#[test]
fn a_member_cannot_write_in_anothers_name() {
    let mut world = World::new();
    let record = world.record(1);
    // Tom has the group key, so his seal is good; the founder's signature he can't make.
    let forged = Context::group(&world.party, Kind::Record, world.founder.id(), Epoch(0), Seq(9))
        .seal(&world.tom, &record, limits::SEALED_RECORD, &mut world.rng)
        .unwrap();
    assert_eq!(open_record(&world.party, &forged), Err(RecordError::Signature));
}

#[test]
fn a_word_holds_for_its_founding_alone() {
    let mut world = World::new();
    let founding = world.founding();
    let sealed = seal_founding(&world.party, &world.founder, Seq(1), &founding, &mut world.rng).unwrap();
    let chain = founding_hash(&sealed);
    for word in [Word::Leave, Word::Dissolve] {
        let said = seal_word(
            &world.party,
            &world.founder,
            Epoch(0),
            Seq(2),
            word,
            &chain,
            &mut world.rng,
        )
        .unwrap();
        assert_eq!(open_word(&world.party, &said, &chain), Ok(word));
        assert_eq!(open_word(&world.party, &said, &[0; 32]), Err(RecordError::Chain));
        assert_eq!(open_record(&world.party, &said), Err(RecordError::Seal));
    }
    let again = seal_founding(&world.party, &world.founder, Seq(3), &founding, &mut world.rng).unwrap();
    assert_ne!(founding_hash(&again), chain);
}

#[test]
fn a_signal_is_for_one_reader_from_one_author() {
    let mut world = World::new();
    let zoe = MemberKeys::joiner(&DeviceSeed::from_bytes([4; 32]), &world.party.tag);
    let (anna, tom) = (world.founder.clone(), world.tom.clone());
    let signal = Signal::Call {
        session: 12,
        candidates: world.record(limits::CANDIDATES).candidates,
    };
    let (at_anna, at_tom) = (world.pair(&anna, &tom), world.pair(&tom, &anna));
    let sealed = seal_signal(
        &world.party,
        &at_anna,
        &anna,
        &tom.id(),
        Epoch(0),
        Seq(4),
        &signal,
        &mut world.rng,
    )
    .unwrap();
    assert!(sealed.body.len() <= limits::SEALED_SIGNAL);
    let open = |pair: &PairKeys, from: &MemberKeys, own: &MemberKeys, sealed: &Sealed| {
        open_signal(&world.party, pair, &from.id(), &own.id(), sealed)
    };
    assert_eq!(open(&at_tom, &anna, &tom, &sealed), Ok(signal));
    assert_eq!(open(&at_tom, &anna, &zoe, &sealed), Err(RecordError::Seal));
    assert_eq!(open(&at_tom, &zoe, &tom, &sealed), Err(RecordError::Signature));
    assert_eq!(
        open(&world.pair(&zoe, &anna), &anna, &zoe, &sealed),
        Err(RecordError::Seal)
    );
    // Not even its author's own direction opens it: what is sent can't be reflected.
    assert_eq!(open(&at_anna, &anna, &tom, &sealed), Err(RecordError::Seal));
    let replayed = Sealed {
        seq: Seq(5),
        ..sealed
    };
    assert_eq!(open(&at_tom, &anna, &tom, &replayed), Err(RecordError::Seal));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn a_cut_or_altered_record_is_refused(at in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<bool>()) {
        let mut world = World::new();
        let mut sealed = world.sealed_record();
        let at = at.index(sealed.body.len());
        if cut {
            sealed.body.0.truncate(at);
        } else {
            sealed.body.0[at] ^= 1 << bit;
        }
        prop_assert_eq!(open_record(&world.party, &sealed), Err(RecordError::Seal));
    }

    #[test]
    fn a_signed_record_of_any_content_is_read_or_refused(payload in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut world = World::new();
        // A member may sign and seal whatever it likes; `serialize` of raw bytes would add a length, so as a tuple.
        struct Raw(Vec<u8>);
        impl Serialize for Raw {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeTuple;
                let mut tuple = serializer.serialize_tuple(self.0.len())?;
                for byte in &self.0 {
                    tuple.serialize_element(byte)?;
                }
                tuple.end()
            }
        }
        let sealed = Context::group(&world.party, Kind::Record, world.tom.id(), Epoch(0), Seq(1))
            .seal(&world.tom, &Raw(payload), limits::SEALED_RECORD, &mut world.rng)
            .unwrap();
        if let Ok(record) = open_record(&world.party, &sealed) {
            prop_assert!(record.candidates.len() <= limits::CANDIDATES);
        }
    }
}
