//! Lasting troubles: raised when they appear, cleared when they end, or by themselves after a while where only
//! their absence tells that they ended.

use lanrage_proto::{Fault, FaultCode};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long a refusal stays visible after it was last seen.
const REFUSAL: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(crate) struct Conditions {
    /// By code and the member concerned.
    raised: BTreeMap<(FaultCode, Option<String>), (Fault, Option<Instant>)>,
    changed: bool,
}

impl Conditions {
    /// Stays until cleared.
    pub(crate) fn raise(&mut self, fault: Fault) {
        self.insert(fault, None);
    }

    /// Stays for a minute after it was last raised. Says whether it is new.
    pub(crate) fn raise_refusal(&mut self, now: Instant, fault: Fault) -> bool {
        self.insert(fault, Some(now + REFUSAL))
    }

    fn insert(&mut self, fault: Fault, until: Option<Instant>) -> bool {
        let key = (fault.code, fault.details.get("member").cloned());
        let new = self
            .raised
            .insert(key, (fault.clone(), until))
            .is_none_or(|(before, _)| before != fault);
        self.changed |= new;
        new
    }

    pub(crate) fn has(&self, code: FaultCode) -> bool {
        self.raised.keys().any(|(raised, _)| *raised == code)
    }

    /// The members whom a code is raised about.
    pub(crate) fn about(&self, code: FaultCode) -> Vec<String> {
        self.raised
            .keys()
            .filter(|(raised, _)| *raised == code)
            .filter_map(|(_, member)| member.clone())
            .collect()
    }

    pub(crate) fn clear(&mut self, code: FaultCode) {
        let before = self.raised.len();
        self.raised.retain(|(raised, _), _| *raised != code);
        self.changed |= self.raised.len() != before;
    }

    /// Clears what concerns one member.
    pub(crate) fn clear_about(&mut self, code: FaultCode, member: &str) {
        self.changed |= self.raised.remove(&(code, Some(member.to_owned()))).is_some();
    }

    pub(crate) fn clear_all(&mut self) {
        self.changed |= !self.raised.is_empty();
        self.raised.clear();
    }

    pub(crate) fn wake(&mut self, now: Instant) {
        let before = self.raised.len();
        self.raised
            .retain(|_, (_, until)| until.is_none_or(|until| now < until));
        self.changed |= self.raised.len() != before;
    }

    pub(crate) fn next_wake(&self) -> Option<Instant> {
        self.raised.values().filter_map(|(_, until)| *until).min()
    }

    pub(crate) fn list(&self) -> Vec<Fault> {
        self.raised.values().map(|(fault, _)| fault.clone()).collect()
    }

    /// Whether anything changed since the last time this was asked.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }
}
