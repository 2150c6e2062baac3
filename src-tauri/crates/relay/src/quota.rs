//! Who uses how much.

use crate::config::{Limits, Pace};
use crate::credentials::Name;
use crate::pace::{Bucket, network};
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

/// Accounts of members, parties and sources that have allocations, and the server's own.
#[derive(Debug)]
pub(crate) struct Ledger {
    accounts: Vec<Account>,
    free: Vec<usize>,
    by_owner: HashMap<Owner, usize>,
    all: Bucket,
    allocations: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Owner {
    Member(String),
    Party(String),
    Source(IpAddr),
}

#[derive(Debug)]
struct Account {
    owner: Owner,
    allocations: u32,
    bucket: Bucket,
}

/// The accounts that pay for one allocation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Charge {
    member: usize,
    party: Option<usize>,
    source: usize,
}

/// Why there is no further allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// Somebody has its share.
    Quota,
    /// The server is full.
    Server,
}

impl Ledger {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            accounts: Vec::new(),
            free: Vec::new(),
            by_owner: HashMap::new(),
            all: Bucket::full(now),
            allocations: 0,
        }
    }

    /// One more allocation.
    pub(crate) fn open(
        &mut self,
        now: Instant,
        limits: &Limits,
        name: &Name<'_>,
        source: IpAddr,
    ) -> Result<Charge, Full> {
        if self.allocations >= limits.allocations {
            return Err(Full::Server);
        }
        let member = Owner::Member(name.member.to_owned());
        let party = name.party.map(|party| Owner::Party(party.to_owned()));
        let source = Owner::Source(network(source));
        let within = self.allocations_of(&member) < limits.member_allocations
            && self.allocations_of(&source) < limits.source_allocations
            && party
                .as_ref()
                .is_none_or(|party| self.allocations_of(party) < limits.party_allocations);
        if !within {
            return Err(Full::Quota);
        }
        self.allocations += 1;
        Ok(Charge {
            member: self.enter(now, member),
            party: party.map(|party| self.enter(now, party)),
            source: self.enter(now, source),
        })
    }

    /// One less.
    pub(crate) fn close(&mut self, charge: Charge) {
        self.allocations -= 1;
        for at in [Some(charge.member), charge.party, Some(charge.source)]
            .into_iter()
            .flatten()
        {
            let account = &mut self.accounts[at];
            account.allocations -= 1;
            if account.allocations == 0 {
                self.by_owner.remove(&account.owner);
                self.free.push(at);
            }
        }
    }

    /// Pays for so many bytes, or not at all.
    pub(crate) fn pay(&mut self, now: Instant, limits: &Limits, charge: Charge, bytes: usize) -> bool {
        let bytes = bytes as u64;
        let mut take = |at: usize, pace: Pace| self.accounts[at].bucket.take(pace, now, bytes);
        take(charge.member, limits.member_bytes)
            && take(charge.source, limits.source_bytes)
            && self.all.take(limits.bytes, now, bytes)
    }

    /// Allocations there are.
    pub(crate) fn allocations(&self) -> u32 {
        self.allocations
    }

    fn allocations_of(&self, owner: &Owner) -> u32 {
        self.by_owner
            .get(owner)
            .map_or(0, |at| self.accounts[*at].allocations)
    }

    fn enter(&mut self, now: Instant, owner: Owner) -> usize {
        if let Some(at) = self.by_owner.get(&owner) {
            self.accounts[*at].allocations += 1;
            return *at;
        }
        let account = Account {
            owner: owner.clone(),
            allocations: 1,
            bucket: Bucket::full(now),
        };
        let at = match self.free.pop() {
            Some(at) => {
                self.accounts[at] = account;
                at
            }
            None => {
                self.accounts.push(account);
                self.accounts.len() - 1
            }
        };
        self.by_owner.insert(owner, at);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            member_allocations: 2,
            party_allocations: 3,
            source_allocations: 4,
            allocations: 6,
            member_bytes: Pace {
                each_second: 100,
                burst: 1000,
            },
            ..Limits::default()
        }
    }

    fn open(ledger: &mut Ledger, name: &str, source: [u8; 4]) -> Result<Charge, Full> {
        let name = Name::parse(name).unwrap();
        ledger.open(Instant::now(), &limits(), &name, source.into())
    }

    #[test]
    fn members_parties_sources_and_the_server_have_their_shares() {
        let mut ledger = Ledger::new(Instant::now());
        open(&mut ledger, "1:p.a", [198, 51, 100, 1]).unwrap();
        open(&mut ledger, "2:p.a", [198, 51, 100, 1]).unwrap();
        assert_eq!(
            open(&mut ledger, "3:p.a", [8, 8, 8, 8]).unwrap_err(),
            Full::Quota,
            "the member"
        );
        let third = open(&mut ledger, "1:p.b", [198, 51, 100, 1]).unwrap();
        assert_eq!(
            open(&mut ledger, "1:p.c", [8, 8, 8, 8]).unwrap_err(),
            Full::Quota,
            "the party"
        );
        open(&mut ledger, "1:alone", [198, 51, 100, 2]).unwrap();
        assert_eq!(
            open(&mut ledger, "1:q.a", [198, 51, 100, 9]).unwrap_err(),
            Full::Quota,
            "the source"
        );
        open(&mut ledger, "1:q.a", [8, 8, 8, 8]).unwrap();
        open(&mut ledger, "1:q.b", [8, 8, 8, 8]).unwrap();
        assert_eq!(
            open(&mut ledger, "1:q.c", [9, 9, 9, 9]).unwrap_err(),
            Full::Server
        );
        ledger.close(third);
        open(&mut ledger, "1:p.c", [198, 51, 100, 1]).unwrap();
    }

    #[test]
    fn what_is_closed_leaves_nothing_behind() {
        let mut ledger = Ledger::new(Instant::now());
        for round in 0..100 {
            let one = open(&mut ledger, &format!("1:p{round}.a"), [198, 51, round, 1]).unwrap();
            let two = open(&mut ledger, &format!("1:p{round}.b"), [198, 51, round, 1]).unwrap();
            ledger.close(one);
            ledger.close(two);
        }
        assert!(ledger.by_owner.is_empty() && ledger.allocations() == 0);
        assert_eq!(ledger.accounts.len(), ledger.free.len());
        assert!(ledger.accounts.len() <= 4);
    }

    #[test]
    fn a_members_allocations_share_its_bytes() {
        let now = Instant::now();
        let mut ledger = Ledger::new(now);
        let one = open(&mut ledger, "1:p.a", [198, 51, 100, 1]).unwrap();
        let two = open(&mut ledger, "1:p.a", [198, 51, 100, 1]).unwrap();
        let other = open(&mut ledger, "1:p.b", [198, 51, 100, 1]).unwrap();
        assert!(ledger.pay(now, &limits(), one, 1000));
        assert!(!ledger.pay(now, &limits(), two, 1));
        assert!(ledger.pay(now, &limits(), other, 1000));
    }
}
