//! The party's home: entering it, what it says, and its coming and going.

use super::Member;
use crate::control::{Asked, News};
use crate::io::{ConnId, ControlEvent, Event, Home, Hosting, Output};
use crate::party::{Active, Adapter, Creating, Entry, Joining, Party, Phase, Reach};
use crate::records::{self, Record, Signal, Word};
use crate::roster::Roster;
use crate::seek::{Found, Goal, NewHome, Patience, Seek};
use lanrage_proto::control::{MemberEntry, RelayOffer, Request, Sealed, ServerMessage};
use lanrage_proto::ids::{Epoch, Version};
use lanrage_proto::server_url::is_reachable_unicast;
use lanrage_proto::{Fault, FaultCode, Invite, MemberId, ServerUrl, limits};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// A snapshot is not asked for again within this, however many strangers knock.
const SNAPSHOT_AGAIN: Duration = Duration::from_secs(5);

impl Member {
    pub(super) fn control_event(&mut self, now: Instant, conn: ConnId, event: ControlEvent) {
        match &mut self.party {
            Party::Creating(creating) => {
                let Some(seek) = &mut creating.seek else { return };
                let found = seek.event(now, conn, event, creating.ident.speaker(), &mut self.desk.out);
                self.found_home(now, found);
            }
            Party::Joining(joining) => {
                let found = joining
                    .seek
                    .event(now, conn, event, joining.ident.speaker(), &mut self.desk.out);
                self.found_home(now, found);
            }
            Party::Active(active) => match &mut active.reach {
                Reach::Seeking(seek) if seek.owns(conn) => {
                    let found = seek.event(now, conn, event, active.ident.speaker(), &mut self.desk.out);
                    self.found_home(now, found);
                }
                Reach::Home(link) if link.conn() == conn => {
                    let news = link.event(now, event, active.ident.speaker(), &mut self.desk.out);
                    self.home_news(now, news);
                }
                Reach::Seeking(_) | Reach::Home(_) | Reach::Starting | Reach::Superseded => {}
            },
            Party::Leaving(leaving) => {
                let Phase::Saying { active, .. } = &mut leaving.phase else {
                    return;
                };
                let Reach::Home(link) = &mut active.reach else {
                    return;
                };
                if link.conn() != conn {
                    return;
                }
                match link.event(now, event, active.ident.speaker(), &mut self.desk.out) {
                    Some(News::Answer(Asked::Leave | Asked::Dissolve, _) | News::Over(_)) => self.said(now),
                    Some(News::Answer(..) | News::Told(_) | News::Welcome) | None => {}
                }
            }
            Party::Idle => {}
        }
    }

    pub(super) fn found(&mut self, now: Instant, addresses: Vec<SocketAddr>) {
        let range = self.config.range;
        let places: Vec<ServerUrl> = addresses
            .into_iter()
            .filter(|at| is_reachable_unicast(at.ip(), range))
            .map(ServerUrl::plain)
            .collect();
        match &mut self.party {
            Party::Joining(joining) => joining.seek.add(now, places),
            Party::Active(active) => {
                if let Reach::Seeking(seek) = &mut active.reach {
                    seek.add(now, places);
                }
            }
            Party::Idle | Party::Creating(_) | Party::Leaving(_) => {}
        }
    }

    pub(super) fn hosting(&mut self, now: Instant, hosting: Result<Hosting, Fault>) {
        let here = |hosting: &Hosting| ServerUrl::plain((Ipv4Addr::LOCALHOST, hosting.port).into());
        match (&mut self.party, hosting) {
            (Party::Creating(creating), Ok(hosting)) if creating.home == Home::Here => {
                let goal = Goal::Register(creating.founding.clone());
                creating.seek = Some(Seek::new(now, goal, Patience::CREATE, [here(&hosting)]));
                self.hosting = Some(hosting);
            }
            (Party::Creating(creating), Err(fault)) if creating.home == Home::Here => {
                let answer = creating.answer;
                self.answers.push(Output::Answer(answer, Err(fault)));
                self.transition(Party::Idle, "the embedded control plane failed");
            }
            (Party::Active(active), Ok(hosting)) if active.home == Home::Here => {
                self.hosting = Some(hosting);
                if matches!(active.reach, Reach::Starting) {
                    self.seek_again(now, "embedded control plane is there");
                }
            }
            (Party::Active(_), Err(fault)) => self.conditions.raise(fault),
            (
                Party::Idle | Party::Creating(_) | Party::Joining(_) | Party::Active(_) | Party::Leaving(_),
                _,
            ) => {}
        }
    }

    /// The way to look for the home of a party that is being gone on with.
    pub(super) fn seeking(&self, now: Instant, active: &Active) -> Reach {
        let places: Vec<ServerUrl> = match &active.home {
            Home::Here => match &self.hosting {
                Some(hosting) => vec![ServerUrl::plain((Ipv4Addr::LOCALHOST, hosting.port).into())],
                None => return Reach::Starting,
            },
            Home::Founder(via) => via.iter().map(|at| ServerUrl::plain(*at)).collect(),
            Home::Server(url) => vec![url.clone()],
        };
        let founder = active.is_host().then(|| active.founding.clone());
        let goal = Goal::Join {
            resume: Some(active.slot),
            founder,
        };
        Reach::Seeking(Box::new(Seek::new(now, goal, Patience::REJOIN, places)))
    }

    fn seek_again(&mut self, now: Instant, cause: &str) {
        let Some(mut active) = self.take_active() else {
            return;
        };
        let from = active.name();
        active.reach = self.seeking(now, &active);
        active.published = None;
        active.paging = None;
        let to = active.name();
        self.party = Party::Active(active);
        self.told_party(from, to, cause.to_owned());
    }

    /// What looking for the home brought.
    pub(super) fn found_home(&mut self, now: Instant, found: Option<Found>) {
        let Some(found) = found else { return };
        match (std::mem::replace(&mut self.party, Party::Idle), found) {
            (Party::Creating(creating), Found::Home(home)) => self.created(now, *creating, *home),
            (Party::Creating(mut creating), Found::Failed(fault)) => {
                let server = match &creating.home {
                    Home::Server(server) if fault.code == FaultCode::ControlUnreachable => {
                        Some(server.clone())
                    }
                    Home::Server(_) | Home::Here | Home::Founder(_) => None,
                };
                if let Some(server) = server {
                    // Play should not wait for a server: the party lives here then, and the player is told.
                    self.conditions
                        .raise(Fault::new(FaultCode::LocalFallback).with("server", &server));
                    self.desk
                        .out
                        .push_back(Output::Event(Event::Control("is away: local mode".to_owned())));
                    creating.home = Home::Here;
                    creating.seek = None;
                    self.changed = true;
                    self.party = Party::Creating(creating);
                } else {
                    self.give_up(creating.answer, fault, "creating");
                }
            }
            (Party::Creating(creating), Found::Ended(_) | Found::Forgotten) => {
                self.give_up(creating.answer, FaultCode::ControlMalformed.into(), "creating");
            }
            (Party::Joining(joining), Found::Home(home)) => self.joined_home(now, *joining, *home),
            (Party::Joining(mut joining), Found::Ended(_)) => {
                joining.seek.hang_up(&mut self.desk.out);
                self.give_up(joining.answer, FaultCode::PartyEnded.into(), "joining");
            }
            (Party::Joining(joining), Found::Failed(fault)) => self.give_up(joining.answer, fault, "joining"),
            (Party::Joining(joining), Found::Forgotten) => self.party = Party::Joining(joining),
            (Party::Active(active), Found::Home(home)) => {
                self.party = Party::Active(active);
                self.rejoined(now, *home);
            }
            (Party::Active(active), Found::Ended(statement)) => {
                self.party = Party::Active(active);
                self.ended(now, statement);
            }
            (Party::Active(active), Found::Forgotten) => {
                self.party = Party::Active(active);
                self.conditions.raise(FaultCode::PartyForgotten.into());
            }
            // Rejoining never gives up.
            (other @ (Party::Active(_) | Party::Idle | Party::Leaving(_)), _) => self.party = other,
        }
    }

    fn give_up(&mut self, answer: crate::io::IntentId, fault: Fault, from: &'static str) {
        self.told_party(from, self.party.name(), fault.to_string());
        self.answers.push(Output::Answer(answer, Err(fault)));
    }

    fn created(&mut self, now: Instant, creating: Creating, home: NewHome) {
        let Creating {
            ident,
            answer,
            nonce,
            founding,
            opened,
            home: place,
            ..
        } = creating;
        let chain = records::founding_hash(&founding);
        self.party = Party::Active(Box::new(Active {
            ident,
            entry: Some((answer, Entry::Create)),
            nonce: Some(nonce),
            founding,
            opened,
            chain,
            home: place,
            slot: home.slot,
            reach: Reach::Home(Box::new(home.link)),
            adapter: Adapter::Waiting,
            version: home.version,
            roster: Roster::default(),
            published: None,
            paging: None,
            last_snapshot: None,
            listed: None,
            seen_as: None,
        }));
        self.at_home(now, &home.relays);
    }

    fn joined_home(&mut self, now: Instant, joining: Joining, home: NewHome) {
        let url = home.link.url();
        let place = match url.address() {
            Some(address) if !url.is_tls() && self.config.server.as_ref() != Some(url) => {
                Home::Founder(vec![SocketAddr::new(address, url.port())])
            }
            _ => Home::Server(url.clone()),
        };
        let chain = records::founding_hash(&home.founding);
        self.party = Party::Active(Box::new(Active {
            ident: joining.ident,
            entry: Some((joining.answer, Entry::Join)),
            nonce: None,
            founding: home.founding,
            opened: home.opened,
            chain,
            home: place,
            slot: home.slot,
            reach: Reach::Home(Box::new(home.link)),
            adapter: Adapter::Waiting,
            version: home.version,
            roster: Roster::default(),
            published: None,
            paging: None,
            last_snapshot: None,
            listed: None,
            seen_as: None,
        }));
        self.at_home(now, &home.relays);
    }

    fn rejoined(&mut self, now: Instant, home: NewHome) {
        let Party::Active(active) = &mut self.party else {
            return;
        };
        if home.slot != active.slot {
            // Peers know this member by its lease; another one can't be taken on in mid-party.
            self.desk.out.push_back(Output::Hangup(home.link.conn()));
            self.refuse(now, FaultCode::LeaseClash.into());
            return self.seek_again(now, "the home dealt another lease");
        }
        let from = active.name();
        active.version = home.version;
        let at = home
            .link
            .url()
            .address()
            .map(|ip| SocketAddr::new(ip, home.link.url().port()));
        if let (Home::Founder(via), Some(at)) = (&mut active.home, at) {
            via.retain(|other| *other != at);
            via.insert(0, at);
            via.truncate(limits::INVITE_VIA);
        }
        active.reach = Reach::Home(Box::new(home.link));
        let to = active.name();
        self.told_party(from, to, "the home is there".to_owned());
        self.at_home(now, &home.relays);
    }

    /// A lease on a living connection: publish the own record, learn the others'.
    fn at_home(&mut self, now: Instant, relays: &[RelayOffer]) {
        for code in [FaultCode::ControlAway, FaultCode::PartyForgotten] {
            self.conditions.clear(code);
        }
        self.offered(now, relays);
        if let Party::Active(active) = &mut self.party {
            active.seen_as = active.link().and_then(|link| link.seen_as());
            if let Some(link) = active.link() {
                self.desk.nat.named(link.stun());
            }
            active.published = None;
            active.paging = None;
            active.last_snapshot = None;
            active.listed = None;
        }
        self.changed = true;
        self.publish(now);
        self.look_again(now);
    }

    /// Publishes the own record if it says something new, or the home does not have it yet.
    pub(super) fn publish(&mut self, now: Instant) {
        let Party::Active(active) = &mut self.party else {
            return;
        };
        let candidates = self.desk.candidates(active.opened.range, active.seen_as);
        let nat = self.desk.nat.report().leading().kind;
        let published = active.published.as_ref();
        if published.is_some_and(|(said, was)| (said, *was) == (&candidates, nat))
            || !matches!(active.reach, Reach::Home(_))
        {
            return;
        }
        let record = Record {
            name: active.ident.player.clone(),
            seal: active.ident.me.seal_public(),
            wg: active.ident.me.wg_public(),
            slot: active.slot,
            session: self.desk.session,
            candidates: candidates.clone(),
            nat,
        };
        let seq = self.desk.next_seq();
        let (keys, me) = (&active.ident.keys, &active.ident.me);
        match records::seal_record(keys, me, Epoch::default(), seq, &record, &mut self.desk.rng) {
            Ok(sealed) => {
                active.roster.set_own(&sealed);
                active.published = Some((candidates, nat));
                if let Some(link) = active.link() {
                    link.ask(
                        now,
                        Asked::Update,
                        Request::UpdatePeer { record: sealed },
                        &mut self.desk.out,
                    );
                }
            }
            Err(error) => tracing::error!(%error, "the own record can't be sealed"),
        }
    }

    /// Asks for the member list, unless that was just done.
    pub(super) fn look_again(&mut self, now: Instant) {
        let Party::Active(active) = &mut self.party else {
            return;
        };
        let recent = active
            .last_snapshot
            .is_some_and(|at| now.saturating_duration_since(at) < SNAPSHOT_AGAIN);
        if recent || active.paging.is_some() {
            return;
        }
        if let Some(link) = active.link() {
            link.ask(
                now,
                Asked::Snapshot,
                Request::Snapshot { page: 0 },
                &mut self.desk.out,
            );
            active.paging = Some((Version::default(), Vec::new()));
            active.last_snapshot = Some(now);
        }
    }

    /// News on the connection to the home.
    pub(super) fn home_news(&mut self, now: Instant, news: Option<News>) {
        let Party::Active(active) = &mut self.party else {
            return;
        };
        let me = active.ident.me.id();
        match news {
            None | Some(News::Welcome) => {}
            Some(News::Over(fault)) => {
                let cause = fault.map_or_else(|| "the home is away".to_owned(), |fault| fault.to_string());
                self.desk
                    .out
                    .push_back(Output::Event(Event::Control("is away".to_owned())));
                self.seek_again(now, &cause);
            }
            Some(News::Answer(Asked::Snapshot, message)) => self.snapshot(now, message),
            Some(News::Answer(Asked::Relays, ServerMessage::Relays { relays })) => self.offered(now, &relays),
            Some(News::Answer(Asked::Update, ServerMessage::Fault { code })) => {
                let fault = Fault::new(code);
                self.desk.out.push_back(Output::Event(Event::Refused(fault)));
            }
            Some(News::Answer(..)) => {}
            Some(News::Told(message)) => match message {
                ServerMessage::PeerJoined { version, member }
                | ServerMessage::PeerUpdated { version, member } => {
                    active.version = version;
                    self.show(now, member);
                }
                ServerMessage::PeerLeft { version, member, .. } if member == me => {
                    active.version = version;
                    self.seek_again(now, "the home removed us");
                }
                ServerMessage::PeerLeft {
                    version,
                    member,
                    statement,
                } => {
                    active.version = version;
                    self.peer_left(now, member, statement);
                }
                ServerMessage::Signal { signal } => self.signal(now, signal),
                ServerMessage::PartyDissolved { statement } => self.ended(now, statement),
                ServerMessage::Superseded {} => {
                    if let Some(link) = active.link() {
                        let conn = link.conn();
                        self.desk.out.push_back(Output::Hangup(conn));
                    }
                    active.reach = Reach::Superseded;
                    self.conditions.raise(FaultCode::Superseded.into());
                }
                // Nothing that comes unasked.
                ServerMessage::Challenge { .. }
                | ServerMessage::Welcome { .. }
                | ServerMessage::Party { .. }
                | ServerMessage::Relays { .. }
                | ServerMessage::Snapshot { .. }
                | ServerMessage::Done {}
                | ServerMessage::VersionUnsupported { .. }
                | ServerMessage::Fault { .. } => {}
            },
        }
    }

    fn snapshot(&mut self, now: Instant, message: ServerMessage) {
        let Party::Active(active) = &mut self.party else {
            return;
        };
        let Some((version, mut entries)) = active.paging.take() else {
            return;
        };
        let ServerMessage::Snapshot {
            version: current,
            page,
            pages,
            members,
        } = message
        else {
            return;
        };
        let (next, complete) = if page > 0 && current != version {
            // The party changed between two pages: from the start again.
            entries.clear();
            (0, false)
        } else {
            entries.extend(members);
            (page.saturating_add(1), page.saturating_add(1) >= pages)
        };
        if !complete && entries.len() <= usize::from(u8::MAX) {
            active.paging = Some((current, entries));
            if let Some(link) = active.link() {
                link.ask(
                    now,
                    Asked::Snapshot,
                    Request::Snapshot { page: next },
                    &mut self.desk.out,
                );
            }
            return;
        }
        active.version = current;
        active.listed = Some(now);
        let shown: Vec<MemberId> = entries.iter().map(|entry| entry.member).collect();
        let missing: Vec<MemberId> = active
            .roster
            .members()
            .into_iter()
            .filter(|member| !shown.contains(member))
            .collect();
        for entry in entries {
            self.show(now, entry);
        }
        for member in missing {
            self.not_listed(now, member);
        }
    }

    /// A member that is in no list any more. A home that remembers it has removed it; one that lost its memory waits
    /// for it to come back.
    fn not_listed(&mut self, now: Instant, member: MemberId) {
        let Party::Active(active) = &mut self.party else {
            return;
        };
        let remembered = active.roster.was_shown_in(&member, active.version.incarnation);
        let stays = !active.roster.dropped(now, &member, &mut self.desk.seq);
        if stays && remembered {
            active.roster.unlisted(now, &member);
        }
        self.changed = true;
    }

    fn show(&mut self, now: Instant, entry: MemberEntry) {
        let Party::Active(active) = &mut self.party else {
            return;
        };
        let member = entry.member;
        let has_record = entry.record.is_some();
        let view = active.view();
        let mut cx = self.desk.context(&active.ident, active.opened.range, view);
        let result = active.roster.show(now, entry, active.slot, &mut cx);
        active.roster.shown_in(&member, active.version.incarnation);
        let name = active.roster.name_of(&member);
        self.changed = true;
        match result {
            Ok(()) if has_record => {
                for code in [
                    FaultCode::RecordRefused,
                    FaultCode::KeyChanged,
                    FaultCode::LeaseClash,
                ] {
                    self.conditions.clear_about(code, &name);
                }
            }
            Ok(()) => {}
            Err(fault) => self.refuse(now, fault),
        }
    }

    fn peer_left(&mut self, now: Instant, member: MemberId, statement: Option<Sealed>) {
        let Party::Active(active) = &mut self.party else {
            return;
        };
        self.changed = true;
        let name = active.roster.name_of(&member);
        let word = statement.filter(|word| word.author == member).and_then(|word| {
            let opened = records::open_word(&active.ident.keys, &word, &active.chain);
            matches!(opened, Ok(Word::Leave)).then_some(word)
        });
        let stays = match word {
            // It was true once, and is shown again now that the member is back.
            Some(word) if active.roster.spoke_since(&member, word.seq) => true,
            Some(word) => {
                active.roster.left(word, &mut self.desk.seq);
                false
            }
            None => !active.roster.dropped(now, &member, &mut self.desk.seq),
        };
        if stays {
            self.refuse(now, Fault::new(FaultCode::LeaveRefused).with("member", name));
        }
    }

    fn signal(&mut self, now: Instant, signal: Sealed) {
        let Party::Active(active) = &mut self.party else {
            return;
        };
        let view = active.view();
        let name = active.roster.name_of(&signal.author);
        let mut cx = self.desk.context(&active.ident, active.opened.range, view);
        let me = active.ident.me.id();
        if signal.author == me {
            return self.refuse(now, Fault::new(FaultCode::SignalRefused).with("member", name));
        }
        let Some(peer) = active.roster.peer_mut(&signal.author) else {
            return self.look_again(now);
        };
        let opened = records::open_signal(&active.ident.keys, peer.pair(), &signal.author, &me, &signal);
        let accepted = match opened {
            Ok(Signal::Call { session, candidates }) => {
                peer.call(now, signal.seq, session, &candidates, &mut cx)
            }
            Err(_) => false,
        };
        if !accepted {
            self.refuse(now, Fault::new(FaultCode::SignalRefused).with("member", name));
        }
    }

    /// The party is said to have ended: true only with the host's word.
    pub(super) fn ended(&mut self, now: Instant, statement: Option<Sealed>) {
        let Party::Active(active) = &mut self.party else {
            return;
        };
        let host = active.founding.author;
        let true_word = statement.is_some_and(|word| {
            let opened = records::open_word(&active.ident.keys, &word, &active.chain);
            word.author == host && matches!(opened, Ok(Word::Dissolve))
        });
        if !true_word {
            return self.refuse(now, FaultCode::DissolveRefused.into());
        }
        let from = active.name();
        let by = active.roster.name_of(&host);
        let fault = Fault::new(FaultCode::PartyDissolved)
            .with("by", by)
            .with("party", &active.opened.name);
        let refusal = active
            .entry
            .take()
            .map(|(intent, _)| (intent, FaultCode::PartyEnded.into()));
        self.conditions.clear_all();
        self.conditions.raise(fault);
        if let Some(active) = self.take_active() {
            self.close(now, *active, Vec::new(), refusal);
            self.told_party(from, self.party.name(), "the host ended the party".to_owned());
        }
    }

    /// A word that came by a path rather than by the home.
    pub(super) fn word(&mut self, now: Instant, from: MemberId, word: Sealed) {
        let Party::Active(active) = &mut self.party else {
            return;
        };
        let author = word.author;
        match records::open_word(&active.ident.keys, &word, &active.chain) {
            Ok(Word::Dissolve) if author == from => self.ended(now, Some(word)),
            Ok(Word::Dissolve) => tracing::debug!("the end of a party is the host's own to say"),
            // Passed on by somebody who may not know yet that its author is back.
            Ok(Word::Leave) if author != from && active.roster.spoke_since(&author, word.seq) => {}
            Ok(Word::Leave) => self.peer_left(now, author, Some(word)),
            Err(error) => tracing::debug!(%error, "a word by a path does not hold"),
        }
    }

    /// The ID with where to find the party.
    pub(super) fn invite(&self, active: &Active) -> Invite {
        let id = active.ident.keys.id;
        let invite = match &active.home {
            Home::Server(url) => Invite {
                id,
                server: Some(url.clone()),
                via: Vec::new(),
            },
            Home::Founder(via) => Invite {
                id,
                server: None,
                via: via.clone(),
            },
            Home::Here => {
                let port = self.hosting.as_ref().map_or(0, |hosting| hosting.port);
                let via = self
                    .desk
                    .network
                    .addresses
                    .iter()
                    .map(|(ip, _)| SocketAddr::new(*ip, port))
                    .collect();
                Invite {
                    id,
                    server: None,
                    via,
                }
            }
        };
        invite.trimmed()
    }
}
