//! Leases: which slot of a party is whose. A member's virtual address follows from its slot.
//!
//! Slot 1 is the founder's for ever. A newcomer gets the slot it asks to resume if that was never dealt, else the
//! lowest that was never dealt. A slot stays reserved to its identity while the party lives, also after it left,
//! because the others pin identity and address to each other; only when all 250 are dealt does a newcomer get the
//! slot of whoever left longest ago.

use lanrage_proto::{MemberId, Slot};
use std::collections::BTreeMap;
use thiserror::Error;

/// The leases of one party.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leases {
    founder: MemberId,
    leases: BTreeMap<MemberId, Lease>,
    departures: u64,
}

/// An identity's hold on a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Which slot.
    pub slot: Slot,
    /// None while its holder is a member; else the how-manieth departure of the party it was.
    pub departed: Option<u64>,
}

/// A lease that was dealt or resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// The slot.
    pub slot: Slot,
    /// Whose reservation it was until now.
    pub released: Option<MemberId>,
}

/// The party has as many members as it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the party is full")]
pub struct Full;

impl Leases {
    /// No lease is dealt yet.
    pub fn new(founder: MemberId) -> Self {
        Self {
            founder,
            leases: BTreeMap::new(),
            departures: 0,
        }
    }

    /// Takes back a lease that was dealt in an earlier life, unless it contradicts one taken back before.
    pub fn restore(&mut self, member: MemberId, lease: Lease) -> bool {
        let fits = (member == self.founder) == (lease.slot == Slot::FOUNDER)
            && self.holder(lease.slot).is_none()
            && !self.leases.contains_key(&member);
        if fits {
            self.leases.insert(member, lease);
            self.departures = self.departures.max(lease.departed.unwrap_or(0));
        }
        fits
    }

    /// Makes `member` one of at most `room` members. The founder's place among them is kept free for it.
    ///
    /// # Errors
    /// When there is no room; nothing is changed then.
    pub fn grant(&mut self, member: MemberId, resume: Option<Slot>, room: u8) -> Result<Granted, Full> {
        let held = self.leases.get(&member).copied();
        if let Some(lease) = held.filter(|lease| lease.departed.is_none()) {
            return Ok(Granted {
                slot: lease.slot,
                released: None,
            });
        }
        let others = self.present().filter(|present| **present != self.founder).count();
        if member != self.founder && others + 1 >= usize::from(room) {
            return Err(Full);
        }
        let (slot, released) = match held {
            Some(lease) => (lease.slot, None),
            None if member == self.founder => (Slot::FOUNDER, None),
            None => self.unheld(resume)?,
        };
        if let Some(released) = released {
            self.leases.remove(&released);
        }
        self.leases.insert(member, Lease { slot, departed: None });
        Ok(Granted { slot, released })
    }

    /// Ends a membership; the slot stays reserved. Returns the lease as it is now, if there is one.
    pub fn depart(&mut self, member: &MemberId) -> Option<Lease> {
        let lease = self.leases.get_mut(member)?;
        if lease.departed.is_none() {
            self.departures = self.departures.saturating_add(1);
            lease.departed = Some(self.departures);
        }
        Some(*lease)
    }

    /// What `member` holds.
    pub fn get(&self, member: &MemberId) -> Option<Lease> {
        self.leases.get(member).copied()
    }

    /// The members, without those who left.
    pub fn present(&self) -> impl Iterator<Item = &MemberId> {
        self.leases
            .iter()
            .filter(|(_, lease)| lease.departed.is_none())
            .map(|(member, _)| member)
    }

    /// Everybody who holds a slot, those who left included.
    pub fn holders(&self) -> impl Iterator<Item = &MemberId> {
        self.leases.keys()
    }

    fn holder(&self, slot: Slot) -> Option<&MemberId> {
        self.leases
            .iter()
            .find(|(_, lease)| lease.slot == slot)
            .map(|(member, _)| member)
    }

    fn unheld(&self, resume: Option<Slot>) -> Result<(Slot, Option<MemberId>), Full> {
        let free = |slot: &Slot| *slot != Slot::FOUNDER && self.holder(*slot).is_none();
        let lowest = || {
            (2..=Slot::MAX.get())
                .filter_map(|number| Slot::try_from(number).ok())
                .find(free)
        };
        if let Some(slot) = resume.filter(free).or_else(lowest) {
            return Ok((slot, None));
        }
        self.leases
            .iter()
            .filter(|(member, _)| **member != self.founder)
            .filter_map(|(member, lease)| Some((lease.departed?, lease.slot, *member)))
            .min()
            .map(|(_, slot, member)| (slot, Some(member)))
            .ok_or(Full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(number: u16) -> MemberId {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        MemberId(bytes)
    }

    fn party() -> Leases {
        let mut leases = Leases::new(member(0));
        leases.grant(member(0), None, 64).unwrap();
        leases
    }

    fn slot(leases: &mut Leases, number: u16, resume: Option<u8>) -> u8 {
        let resume = resume.map(|number| Slot::try_from(number).unwrap());
        leases.grant(member(number), resume, 250).unwrap().slot.get()
    }

    #[test]
    fn newcomers_get_the_lowest_slot_never_dealt() {
        let mut leases = party();
        assert_eq!(slot(&mut leases, 1, None), 2);
        assert_eq!(slot(&mut leases, 2, None), 3);
        leases.depart(&member(1));
        assert_eq!(slot(&mut leases, 3, None), 4);
        assert_eq!(
            slot(&mut leases, 1, None),
            2,
            "who comes back finds the slot again"
        );
    }

    #[test]
    fn a_slot_is_resumed_when_nobody_else_had_it() {
        let mut leases = party();
        assert_eq!(slot(&mut leases, 1, Some(7)), 7);
        assert_eq!(slot(&mut leases, 2, Some(7)), 2);
        assert_eq!(slot(&mut leases, 3, Some(1)), 3, "slot 1 is the founder's");
        assert_eq!(slot(&mut leases, 1, Some(9)), 7, "who has one keeps it");
    }

    #[test]
    fn the_founder_keeps_its_slot_and_its_place() {
        let mut leases = party();
        leases.depart(&member(0));
        for number in 1..4 {
            leases.grant(member(number), None, 4).unwrap();
        }
        assert_eq!(leases.grant(member(4), None, 4), Err(Full));
        let granted = leases
            .grant(member(0), Some(Slot::try_from(5).unwrap()), 4)
            .unwrap();
        assert_eq!(granted.slot, Slot::FOUNDER);
    }

    #[test]
    fn only_a_party_that_has_dealt_all_slots_reuses_the_longest_absent() {
        let mut leases = party();
        for number in 1..250 {
            assert_eq!(u16::from(slot(&mut leases, number, None)), number + 1);
        }
        assert_eq!(
            leases.grant(member(999), None, 255),
            Err(Full),
            "nobody is absent"
        );
        leases.depart(&member(0));
        leases.depart(&member(20));
        leases.depart(&member(10));
        let granted = leases.grant(member(300), None, 250).unwrap();
        assert_eq!((granted.slot.get(), granted.released), (21, Some(member(20))));
        assert_eq!(leases.get(&member(20)), None);
        leases.depart(&member(30));
        assert_eq!(
            slot(&mut leases, 20, Some(21)),
            11,
            "the founder's is never reused"
        );
    }

    #[test]
    fn who_left_longest_ago_is_known_across_a_restart() {
        let mut leases = Leases::new(member(0));
        let lease = |number, departed| Lease {
            slot: Slot::try_from(number).unwrap(),
            departed,
        };
        assert!(leases.restore(member(1), lease(2, Some(7))));
        for number in 2..250 {
            assert!(leases.restore(member(number.into()), lease(number + 1, None)));
        }
        leases.depart(&member(2));
        let granted = leases.grant(member(300), None, 255).unwrap();
        assert_eq!(granted.released, Some(member(1)));
        let granted = leases.grant(member(301), None, 255).unwrap();
        assert_eq!(granted.released, Some(member(2)));
    }

    #[test]
    fn contradictions_are_not_taken_back() {
        let mut leases = Leases::new(member(0));
        let lease = |number| Lease {
            slot: Slot::try_from(number).unwrap(),
            departed: None,
        };
        assert!(
            !leases.restore(member(1), lease(1)),
            "slot 1 belongs to the founder"
        );
        assert!(!leases.restore(member(0), lease(2)));
        assert!(leases.restore(member(1), lease(2)));
        assert!(!leases.restore(member(2), lease(2)));
        assert!(!leases.restore(member(1), lease(3)));
    }
}
