//! The party's home: finding it, entering it, and its coming and going.

use super::Member;
use crate::connection::Peer;
use crate::control::{Asked, News};
use crate::io::{ConnId, ControlEvent, Event, Home, Hosting, Output};
use crate::lobby::Lobby;
use crate::party::{Active, Adapter, Creating, Entry, Joining, Party, Phase, Reach};
use crate::records;
use crate::roster::Roster;
use crate::seek::{Found, Goal, NewHome, Patience, Seek};
use lanrage_proto::control::{RelayOffer, Request};
use lanrage_proto::ids::Version;
use lanrage_proto::server_url::is_reachable_unicast;
use lanrage_proto::{Fault, FaultCode, Invite, ServerUrl, limits};
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

    pub(super) fn seek_again(&mut self, now: Instant, cause: &str) {
        // What was said last may never have been heard.
        self.drop_proposal();
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
            own: None,
            published: None,
            paging: None,
            last_snapshot: None,
            listed: None,
            seen_as: None,
            rules: self.config.rules,
            lobby: Lobby::default(),
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
            own: None,
            published: None,
            paging: None,
            last_snapshot: None,
            listed: None,
            seen_as: None,
            rules: self.config.rules,
            lobby: Lobby::default(),
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
        self.desk.nat.look_again(now);
        self.internet_is_back(now);
        if let Party::Active(active) = &mut self.party {
            active.seen_as = active.link().and_then(|link| link.seen_as());
            if let Some(link) = active.link() {
                self.desk.nat.named(link.stun());
            }
            active.published = None;
            active.paging = None;
            active.last_snapshot = None;
            active.listed = None;
            active.roster.peers_mut().for_each(Peer::home_is_back);
        }
        self.changed = true;
        self.publish(now);
        self.look_again(now);
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
                let own = self.desk.network.addresses.iter();
                let own = own.map(|(ip, _)| SocketAddr::new(*ip, port));
                // Those that work from far away first, lest they be cut off.
                let mut via = self.outside(active).via;
                for at in own {
                    if !via.contains(&at) {
                        via.push(at);
                    }
                }
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
