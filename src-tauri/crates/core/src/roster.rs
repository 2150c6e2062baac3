//! The members of the party as their signed records show them: what a control plane or another member says is
//! checked here before it counts, and what does not hold is refused and named.

use crate::connection::Peer;
use crate::context::Context;
use crate::records::{self, Record, RecordError};
use lanrage_proto::control::{MemberEntry, Sealed};
use lanrage_proto::ids::Incarnation;
use lanrage_proto::{Fault, FaultCode, MemberId, SealPublic, Seq, Slot, WgPublic, limits};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Who left is silent after this at the latest.
const LEAVING: Duration = Duration::from_secs(3);

/// What a member was known by when it was first seen, and the newest it said; kept while the party lives, so that a
/// member that left and comes back is the same.
struct Pin {
    wg: WgPublic,
    seal: SealPublic,
    slot: Slot,
    seq: Seq,
    hash: [u8; 32],
    /// The newest that a control plane showed; a newer one may have come by a path.
    shown: Seq,
    /// It said by this word that it leaves: whatever it said before is of the past.
    left: Option<Sealed>,
}

/// A member whose lease the control plane shows, with or without a valid record.
pub(crate) struct Row {
    pub(crate) slot: Slot,
    pub(crate) online: bool,
    /// The control plane removed it without its word while its tunnel lived.
    pub(crate) orphaned: bool,
    /// Until when a control plane that lost its memory may take to show it again.
    awaited: Option<Instant>,
    /// When a list came without it, though nobody said that it left.
    unlisted: Option<Instant>,
    /// The memory of the control plane that last showed it.
    shown_in: Incarnation,
    /// Hash of the record that the control plane last showed.
    shown: Option<[u8; 32]>,
    /// When the record, which came by a path, is to be passed on.
    pass_on: Option<Instant>,
    pub(crate) peer: Option<Box<Peer>>,
}

#[derive(Default)]
pub(crate) struct Roster {
    rows: BTreeMap<MemberId, Row>,
    pins: BTreeMap<MemberId, Pin>,
    /// Whose probes come under which index.
    indices: BTreeMap<[u8; 8], MemberId>,
    /// Hash of this member's own record.
    own: [u8; 32],
    /// Grows when a record is accepted or a member goes.
    revision: u64,
}

impl Roster {
    pub(crate) fn peer_mut(&mut self, member: &MemberId) -> Option<&mut Peer> {
        self.rows.get_mut(member)?.peer.as_deref_mut()
    }

    pub(crate) fn by_index(&mut self, index: &[u8; 8]) -> Option<&mut Peer> {
        let member = *self.indices.get(index)?;
        self.peer_mut(&member)
    }

    pub(crate) fn by_slot(&mut self, slot: Slot) -> Option<&mut Peer> {
        self.peers_mut().find(|peer| peer.slot() == slot)
    }

    pub(crate) fn peers(&self) -> impl Iterator<Item = &Peer> {
        self.rows.values().filter_map(|row| row.peer.as_deref())
    }

    pub(crate) fn peers_mut(&mut self) -> impl Iterator<Item = &mut Peer> {
        self.rows.values_mut().filter_map(|row| row.peer.as_deref_mut())
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = (&MemberId, &Row)> {
        self.rows.iter()
    }

    pub(crate) fn members(&self) -> Vec<MemberId> {
        self.rows.keys().copied().collect()
    }

    /// The name a member signed, or a few characters of its identity.
    pub(crate) fn name_of(&self, member: &MemberId) -> String {
        let peer = self.rows.get(member).and_then(|row| row.peer.as_deref());
        peer.map_or_else(|| member.short(), |peer| peer.record.name.to_string())
    }

    /// Tells whether the records held are still those of an earlier look.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// The own record changed.
    pub(crate) fn set_own(&mut self, sealed: &Sealed) {
        self.own = hash_of(sealed);
    }

    /// A hash of the signed records that the control plane shows of those connected, for peers to compare: never 0.
    /// Who is away may be known to have left by some and not by others.
    pub(crate) fn view(&self, me: &MemberId) -> u64 {
        let mut all: BTreeMap<&MemberId, &[u8; 32]> = self
            .rows
            .iter()
            .filter(|(_, row)| row.online && !row.orphaned)
            .filter_map(|(member, row)| Some((member, row.shown.as_ref().filter(|_| row.peer.is_some())?)))
            .collect();
        all.insert(me, &self.own);
        let mut hasher = blake3::Hasher::new_derive_key("LANrage 2026-11 view of the party");
        for (member, hash) in all {
            hasher.update(member.as_bytes());
            hasher.update(hash);
        }
        let mut first = [0; 8];
        hasher.finalize_xof().fill(&mut first);
        u64::from_le_bytes(first).max(1)
    }

    /// Takes over what a control plane shows of a member, as far as the member's own signature bears it out.
    ///
    /// Errors: the fault to name. No key, lease or path has changed then.
    pub(crate) fn show(
        &mut self,
        now: Instant,
        entry: MemberEntry,
        own_slot: Slot,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let me = cx.me.id();
        let member = entry.member;
        let refuse =
            |roster: &Self, code: FaultCode| Fault::new(code).with("member", roster.name_of(&member));
        if member == me {
            let is_mine = entry.slot == own_slot;
            return if is_mine {
                Ok(())
            } else {
                Err(refuse(self, FaultCode::LeaseClash))
            };
        }
        let taken = entry.slot == own_slot
            || self
                .rows
                .iter()
                .any(|(other, row)| *other != member && row.slot == entry.slot && row.peer.is_some())
            || self.pins.get(&member).is_some_and(|pin| pin.slot != entry.slot);
        if taken {
            return Err(refuse(self, FaultCode::LeaseClash));
        }
        let left = self.pins.get(&member).and_then(|pin| pin.left.as_ref());
        if left.is_some_and(|left| entry.record.as_ref().is_none_or(|record| record.seq <= left.seq)) {
            // It said itself that it left; until it says otherwise there is no member to show.
            return Ok(());
        }
        let row = self.rows.entry(member).or_insert(Row {
            slot: entry.slot,
            online: false,
            orphaned: false,
            awaited: None,
            unlisted: None,
            shown_in: Incarnation::default(),
            shown: None,
            pass_on: None,
            peer: None,
        });
        row.online = entry.online;
        row.orphaned = false;
        row.awaited = None;
        row.unlisted = None;
        match entry.record {
            Some(record) => {
                let (seq, hash) = (record.seq, hash_of(&record));
                self.learn(now, member, record, cx)?;
                if let Some(row) = self.rows.get_mut(&member) {
                    row.shown = Some(hash);
                    row.pass_on = None;
                }
                if let Some(pin) = self.pins.get_mut(&member) {
                    pin.shown = pin.shown.max(seq);
                }
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// A record that came by a path, to be passed on at the moment given. Whether it was new.
    ///
    /// Errors: the fault that whoever made it could be blamed for.
    pub(crate) fn hear(
        &mut self,
        now: Instant,
        sealed: Sealed,
        pass_on: Instant,
        cx: &mut Context<'_>,
    ) -> Result<bool, Fault> {
        let member = sealed.author;
        let known = self.pins.get(&member).map(|pin| pin.seq);
        // Who is in the party is for its home to say, and who left to themselves.
        let is_here = self.rows.get(&member).is_some_and(|row| row.peer.is_some());
        if !is_here || known.is_none_or(|known| sealed.seq <= known) {
            return Ok(false);
        }
        let is_new = self.learn(now, member, sealed, cx)?;
        if let Some(row) = self.rows.get_mut(&member).filter(|_| is_new) {
            row.pass_on = Some(pass_on);
        }
        Ok(is_new)
    }

    /// Records that are to be passed on by now.
    pub(crate) fn take_passed(&mut self, now: Instant) -> Vec<Sealed> {
        let due = |row: &mut Row| {
            row.pass_on.take_if(|at| *at <= now)?;
            Some(row.peer.as_ref()?.sealed.clone())
        };
        self.rows.values_mut().filter_map(due).collect()
    }

    /// When the next record is to be passed on.
    pub(crate) fn next_passed(&self) -> Option<Instant> {
        self.rows.values().filter_map(|row| row.pass_on).min()
    }

    /// A record, whoever brought it. Whether it was new.
    fn learn(
        &mut self,
        now: Instant,
        member: MemberId,
        sealed: Sealed,
        cx: &mut Context<'_>,
    ) -> Result<bool, Fault> {
        let code = match self.check(&member, &sealed, cx) {
            Ok(None) => return Ok(false),
            Ok(Some((record, hash))) => {
                let refused = self.accept(now, member, sealed, hash, record, cx).is_none();
                if !refused {
                    return Ok(true);
                }
                FaultCode::RecordRefused
            }
            Err(code) => code,
        };
        Err(Fault::new(code).with("member", self.name_of(&member)))
    }

    /// `Ok(None)` when it is the record that is here already.
    fn check(
        &self,
        member: &MemberId,
        sealed: &Sealed,
        cx: &Context<'_>,
    ) -> Result<Option<(Record, [u8; 32])>, FaultCode> {
        let hash = hash_of(sealed);
        let pin = self.pins.get(member);
        let is_here = self.rows.get(member).is_some_and(|row| row.peer.is_some());
        if is_here && pin.is_some_and(|pin| pin.hash == hash) {
            return Ok(None);
        }
        if sealed.author != *member {
            return Err(FaultCode::RecordRefused);
        }
        let record = records::open_record(cx.party, sealed).map_err(|error| match error {
            // It is the member's own word: another version may say more.
            RecordError::Form => FaultCode::PeerVersion,
            _ => FaultCode::RecordRefused,
        })?;
        if self.rows.get(member).is_some_and(|row| row.slot != record.slot) {
            return Err(FaultCode::LeaseClash);
        }
        if let Some(pin) = pin {
            if is_here && (pin.shown..pin.seq).contains(&sealed.seq) {
                // The control plane does not have yet what a path brought.
                return Ok(None);
            }
            if sealed.seq < pin.seq || (sealed.seq == pin.seq && pin.hash != hash) {
                return Err(FaultCode::RecordReplayed);
            }
            if pin.wg != record.wg || pin.seal != record.seal {
                return Err(FaultCode::KeyChanged);
            }
        }
        // One WireGuard key for two members would let one take the other's tunnel.
        let shared = self
            .pins
            .iter()
            .any(|(other, pin)| other != member && pin.wg == record.wg);
        if shared || record.wg == cx.me.wg_public() {
            return Err(FaultCode::KeyChanged);
        }
        Ok(Some((record, hash)))
    }

    fn accept(
        &mut self,
        now: Instant,
        member: MemberId,
        sealed: Sealed,
        hash: [u8; 32],
        record: Record,
        cx: &mut Context<'_>,
    ) -> Option<()> {
        let pin = Pin {
            wg: record.wg,
            seal: record.seal,
            slot: record.slot,
            seq: sealed.seq,
            hash,
            shown: self.pins.get(&member).map(|pin| pin.shown).unwrap_or_default(),
            left: None,
        };
        let row = self.rows.get_mut(&member)?;
        match row.peer.as_deref_mut() {
            Some(peer) => peer.learn(now, sealed, hash, record, cx),
            None => {
                let peer = Peer::new(now, member, sealed, hash, record, cx)?;
                self.indices.insert(peer.index(), member);
                row.peer = Some(Box::new(peer));
            }
        }
        self.pins.insert(member, pin);
        self.revision += 1;
        Some(())
    }

    /// A record kept from before a restart: it was checked then, and is again.
    pub(crate) fn remember(&mut self, now: Instant, sealed: Sealed, own_slot: Slot, cx: &mut Context<'_>) {
        if let Ok(record) = records::open_record(cx.party, &sealed) {
            let entry = MemberEntry {
                member: sealed.author,
                slot: record.slot,
                online: false,
                record: Some(sealed),
            };
            if let Err(fault) = self.show(now, entry, own_slot, cx) {
                tracing::warn!(%fault, "a remembered record no longer holds");
            }
        }
    }

    /// Members whose newest record came by a path, and no control plane showed it yet.
    pub(crate) fn heard_of(&self) -> Vec<MemberId> {
        let unshown = self.pins.iter().filter(|(_, pin)| pin.shown < pin.seq);
        unshown.map(|(member, _)| *member).collect()
    }

    /// A record kept from before a restart had come by a path: a control plane that shows an older one is no liar.
    pub(crate) fn remember_heard(&mut self, member: &MemberId) {
        if let Some(pin) = self.pins.get_mut(member) {
            pin.shown = Seq::default();
        }
    }

    /// The member is gone; its pin stays.
    pub(crate) fn remove(&mut self, member: &MemberId, seq: &mut Seq) -> bool {
        self.indices.retain(|_, other| other != member);
        self.revision += 1;
        match self.rows.remove(member) {
            Some(row) => {
                if let Some(peer) = row.peer {
                    peer.retire(seq);
                }
                true
            }
            None => false,
        }
    }

    /// Whether the member is here and said something after its word of this number.
    pub(crate) fn spoke_since(&self, member: &MemberId, word: Seq) -> bool {
        self.rows.contains_key(member) && self.pins.get(member).is_some_and(|pin| word <= pin.seq)
    }

    /// A control plane with this memory showed the member.
    pub(crate) fn shown_in(&mut self, member: &MemberId, incarnation: Incarnation) {
        if let Some(row) = self.rows.get_mut(member) {
            row.shown_in = incarnation;
        }
    }

    /// The memory of the control plane that last showed the member in this run.
    pub(crate) fn last_shown_in(&self, member: &MemberId) -> Option<Incarnation> {
        let shown_in = self.rows.get(member)?.shown_in;
        (shown_in != Incarnation::default()).then_some(shown_in)
    }

    /// The control plane lost its memory, and the member has not come back to it yet. It is given as long as a control
    /// plane would give it.
    pub(crate) fn awaited(&mut self, now: Instant, member: &MemberId) {
        if let Some(row) = self.rows.get_mut(member) {
            row.online = false;
            row.awaited.get_or_insert(now + limits::STALE);
        }
    }

    /// The author of this word, which was checked, leaves. `false` when it came back since.
    pub(crate) fn left(&mut self, word: Sealed, seq: &mut Seq) -> bool {
        let member = word.author;
        if let Some(pin) = self.pins.get_mut(&member) {
            if word.seq <= pin.seq {
                return false;
            }
            pin.left = Some(word);
        }
        self.remove(&member, seq)
    }

    /// The words by which members left who did not come back.
    pub(crate) fn last_words(&self) -> Vec<Sealed> {
        let words = self.pins.values().filter_map(|pin| pin.left.clone());
        words.collect()
    }

    /// The control plane removed the member without its word. `false` when its tunnel lives: then it stays.
    pub(crate) fn dropped(&mut self, now: Instant, member: &MemberId, seq: &mut Seq) -> bool {
        match self.rows.get_mut(member) {
            Some(row) if row.peer.as_ref().is_some_and(|peer| peer.is_alive(now)) => {
                row.orphaned = true;
                false
            }
            _ => {
                self.remove(member, seq);
                true
            }
        }
    }

    /// A list came without the member. Its word may have been missed, so it counts as removed without one only when
    /// it is still heard a while later ([`Self::take_speaking`]).
    pub(crate) fn unlisted(&mut self, now: Instant, member: &MemberId) {
        if let Some(row) = self.rows.get_mut(member) {
            row.unlisted = Some(now);
        }
    }

    /// Members left out of a list some while ago that go on speaking; each is told once.
    pub(crate) fn take_speaking(&mut self) -> Vec<MemberId> {
        let speaks = |row: &Row| {
            let heard = row.peer.as_ref().and_then(|peer| peer.last_heard());
            heard
                .zip(row.unlisted)
                .is_some_and(|(heard, since)| heard >= since + LEAVING)
        };
        let rows = self.rows.iter_mut().filter(|(_, row)| speaks(row));
        rows.map(|(member, row)| {
            row.unlisted = None;
            *member
        })
        .collect()
    }

    /// Rows that only their tunnel kept, and that is gone as well.
    pub(crate) fn take_orphans(&mut self, now: Instant, seq: &mut Seq) -> Vec<MemberId> {
        let gone: Vec<MemberId> = self
            .rows
            .iter()
            .filter(|(_, row)| row.orphaned || row.awaited.is_some_and(|until| now >= until))
            .filter(|(_, row)| row.peer.as_ref().is_none_or(|peer| !peer.is_alive(now)))
            .map(|(member, _)| *member)
            .collect();
        gone.iter().for_each(|member| {
            self.remove(member, seq);
        });
        gone
    }

    /// Ends all.
    pub(crate) fn retire(self, seq: &mut Seq) {
        for peer in self.rows.into_values().filter_map(|row| row.peer) {
            peer.retire(seq);
        }
    }
}

fn hash_of(sealed: &Sealed) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("LANrage 2026-11 record hash");
    hasher.update(sealed.author.as_bytes());
    hasher.update(&sealed.epoch.0.to_le_bytes());
    hasher.update(&sealed.seq.0.to_le_bytes());
    hasher.update(sealed.body.as_slice());
    *hasher.finalize().as_bytes()
}
