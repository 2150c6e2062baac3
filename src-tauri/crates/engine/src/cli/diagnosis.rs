//! What `doctor` prints for people: a line on each thing, the ways to each friend, and what to do.

use super::show::nat_word;
use super::text;
use lanrage_proto::Fault;
use lanrage_proto::doctor::{
    Change, Expected, FamilyReport, Filtering, HostingReport, Mapping, MappingProtocol, MappingReport,
    MappingState, Outside, PairBy, PairKind, PairReason, PairReport, PairState, PeerReport, RelayReport,
    Report, UdpState, Unproven, WayState,
};
use lanrage_proto::ipc::{ControlMode, ControlState, NatType, PathKind, PeerState};
use lanrage_proto::turn_uri::TurnTransport;
use std::fmt::Write as _;

/// Lines under headings.
#[derive(Default)]
struct Page(String);

impl Page {
    fn line(&mut self, text: impl AsRef<str>) {
        // Names and reasons come from elsewhere: nothing that a terminal would obey.
        self.0.extend(text.as_ref().chars().filter(|c| !c.is_control()));
        self.0.push('\n');
    }

    fn heading(&mut self, text: &str) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.line(text);
    }
}

/// The whole report.
pub(super) fn report(report: &Report) -> String {
    let mut page = Page::default();
    page.line(format!("LANrage {}", report.engine.version));
    connection(&mut page, report);
    let in_party = report.engine.control.state != ControlState::Idle;
    page.heading("Relays");
    if report.relays.is_empty() {
        page.line(match in_party {
            true => "  none is offered",
            false => "  they are known in a party only, as the ways to friends are",
        });
    }
    for relay in &report.relays {
        page.line(format!("  {}", relay_words(relay)));
    }
    page.heading("This computer");
    computer(&mut page, report);
    for peer in &report.peers {
        page.heading(&peer_words(peer));
        for pair in &peer.pairs {
            page.line(format!("  {}", pair_words(pair)));
        }
    }
    findings(&mut page, &report.findings);
    page.0
}

/// What can be seen without an engine.
pub(super) fn outside(outside: &Outside) -> String {
    let mut page = Page::default();
    page.line("Without the engine only this can be said:");
    page.line(match outside.socket_exists {
        true => format!(
            "  Its socket {} is there, and nobody answers on it.",
            outside.socket
        ),
        false => format!("  Its socket {} is not there.", outside.socket),
    });
    page.line(match outside.adapter_possible {
        true => "  A network adapter can be made.",
        false => "  You could make no network adapter; the engine may have the right to.",
    });
    page.line(match (outside.ipv4, outside.ipv6) {
        (true, true) => "  This computer has IPv4 and a public IPv6 address.",
        (true, false) => "  This computer has IPv4, and no public IPv6 address.",
        (false, true) => "  This computer has a public IPv6 address, and no IPv4.",
        (false, false) => "  This computer has no network.",
    });
    if !outside.findings.is_empty() {
        findings(&mut page, &outside.findings);
    }
    page.0
}

fn findings(page: &mut Page, findings: &[Fault]) {
    page.heading("What to do");
    if findings.is_empty() {
        page.line("  Nothing: all is well as far as can be seen.");
    }
    for fault in findings {
        page.line(format!("  ! {}", text::sentences(fault)));
    }
}

fn connection(page: &mut Page, report: &Report) {
    page.heading("Internet");
    page.line(match report.udp {
        UdpState::Open => "  UDP gets through.",
        UdpState::Blocked => "  UDP is blocked; TCP gets through.",
        UdpState::Unknown => "  Whether UDP gets through is not known.",
    });
    family(page, "IPv4", &report.ipv4);
    family(page, "IPv6", &report.ipv6);
    page.line(format!(
        "  Ports from the router: {}",
        mapping_words(&report.mapping)
    ));
    if let Some(hosting) = &report.hosting {
        page.line(format!("  {}", hosting_words(hosting)));
    }
    let whose = match report.engine.control.mode {
        ControlMode::Local => "this party's host",
        ControlMode::Remote => "the server",
    };
    match (&report.control.at, report.control.answers) {
        (Some(at), Some(true)) => page.line(format!("  Meeting place: {whose} at {at} answers.")),
        (Some(at), Some(false)) => page.line(format!("  Meeting place: {whose} at {at} does not answer.")),
        (Some(at), None) => page.line(format!("  Meeting place: {whose} at {at}.")),
        _ if report.hosting.is_some() => page.line("  Meeting place: this computer."),
        (None, Some(true)) => page.line("  Meeting place: it answers."),
        (None, Some(false)) => page.line("  Meeting place: it is away, and looked for."),
        (None, None) => page.line("  Meeting place: the next party's would be this computer."),
    }
}

fn family(page: &mut Page, name: &str, family: &FamilyReport) {
    if !family.address {
        return page.line(format!(
            "  {name}: this computer has no address of it that leads out."
        ));
    }
    let kind = match (nat_word(family.kind), family.reason) {
        (Some(kind), _) if family.kind == NatType::Open => format!("{kind}, no NAT"),
        (Some(kind), _) => format!("NAT is {kind}"),
        (None, reason) => format!("NAT not known: {}", reason.map_or("", why_unknown)),
    };
    let seen = family.mapped.as_ref().map(|mapped| format!("; seen as {mapped}"));
    page.line(format!("  {name}: {kind}{}", seen.unwrap_or_default()));
    if let Some(mapping) = family.mapping {
        page.line(format!(
            "    {}",
            match mapping {
                Mapping::EndpointIndependent => "all servers saw the same address and port",
                Mapping::AddressDependent => "each server saw another port",
                Mapping::AddressAndPortDependent => "each server, and each of its ports, saw another port",
                Mapping::EndpointDependent => "the servers saw different ports",
            }
        ));
    }
    if let Some(filtering) = family.filtering {
        page.line(format!(
            "    {}",
            match filtering {
                Filtering::EndpointIndependent => "anybody's packets come in",
                Filtering::AddressDependent => "only addresses that were sent to come in",
                Filtering::AddressAndPortDependent => "only addresses and ports that were sent to come in",
            }
        ));
    }
    for server in &family.servers {
        let answer = match (&server.saw, server.rtt_ms) {
            (Some(saw), Some(rtt)) => format!("saw {saw}, {rtt:.1} ms"),
            (Some(saw), None) => format!("saw {saw}"),
            (None, _) => "did not answer".to_owned(),
        };
        page.line(format!("    STUN {} {answer}", server.server));
    }
    for test in &family.tests {
        let from = |from: &Option<String>| {
            from.as_ref()
                .map_or("nothing came".to_owned(), |from| format!("came from {from}"))
        };
        if test.asked == 0 {
            page.line(format!(
                "    STUN {} asked by a fresh socket to answer from elsewhere: {}",
                test.server,
                from(&test.both)
            ));
            continue;
        }
        page.line(format!(
            "    STUN {} asked to answer from {}: {}; from its other port: {}; {} of {} plain answers beside",
            test.server,
            test.other,
            from(&test.both),
            from(&test.port),
            test.answered,
            test.asked
        ));
    }
}

fn why_unknown(reason: Unproven) -> &'static str {
    match reason {
        Unproven::Untried => "nobody was asked",
        Unproven::NoServers => "there is no STUN server to ask",
        Unproven::InProgress => "it is being found out",
        Unproven::NoAnswer => "no STUN server answers",
        Unproven::OneDestination => "only one server answers, which proves too little",
        Unproven::NoSecondAddress => "no server can answer from a second address",
        Unproven::AlternateContacted => "the server's second address was used lately; tried again later",
        Unproven::AlternateSilent => "the server's second address does not answer",
        Unproven::Lossy => "too much is lost on the way",
        Unproven::Changed => "the router changed the port meanwhile",
    }
}

fn mapping_words(mapping: &MappingReport) -> String {
    let protocol = match mapping.protocol {
        Some(MappingProtocol::Pcp) => "PCP",
        Some(MappingProtocol::NatPmp) => "NAT-PMP",
        Some(MappingProtocol::Upnp) => "UPnP",
        None => "nothing",
    };
    let reason = text::reason(mapping.reason.as_deref().unwrap_or("no answer"));
    match mapping.state {
        MappingState::Off => "switched off".to_owned(),
        MappingState::Idle => "asked for in a party only".to_owned(),
        MappingState::Asking => "being asked for".to_owned(),
        MappingState::Needless => "not needed here, or nobody to ask".to_owned(),
        MappingState::Refused => format!("none ({reason})"),
        MappingState::Mapped => {
            let mut granted = Vec::new();
            granted.extend(mapping.udp.as_ref().map(|at| format!("{at} for the party")));
            granted.extend(mapping.tcp.as_ref().map(|at| format!("{at} for joining")));
            format!("{} by {protocol}", granted.join(", "))
        }
    }
}

fn hosting_words(hosting: &HostingReport) -> String {
    match hosting.reachable {
        Some(true) => format!(
            "Friends elsewhere can join by the invite: {}",
            hosting.via.join(", ")
        ),
        Some(false) => "Friends elsewhere can't join: nobody gets in from outside.".to_owned(),
        None => "Whether friends elsewhere can join is not known yet.".to_owned(),
    }
}

fn relay_words(relay: &RelayReport) -> String {
    let mut words = relay.server.clone();
    match (relay.up, relay.rtt_ms) {
        (true, Some(rtt)) => {
            let _ = write!(words, ": up, {rtt:.1} ms");
        }
        (true, None) => words.push_str(": up"),
        (false, _) => words.push_str(": not up"),
    }
    for way in &relay.ways {
        let carrier = match way.transport {
            TurnTransport::Udp => "UDP",
            TurnTransport::Tcp => "TCP",
            TurnTransport::Tls => "TLS",
        };
        let state = match (way.state, &way.reason) {
            (WayState::Used, _) => "used".to_owned(),
            (WayState::Failed, Some(reason)) => format!("failed ({reason})"),
            (WayState::Failed, None) => "failed".to_owned(),
            (WayState::Untried, _) => "not needed".to_owned(),
        };
        let _ = write!(words, "; {carrier} {state}");
    }
    words
}

fn computer(page: &mut Page, report: &Report) {
    match (&report.adapter.name, &report.adapter.address) {
        (Some(name), Some(address)) => {
            let mtu = report.adapter.mtu.unwrap_or_default();
            page.line(format!("  Adapter {name}: {address}, packets up to {mtu} bytes"));
        }
        _ if report.adapter.possible => page.line("  No adapter now; one can be made."),
        _ => page.line("  No adapter can be made."),
    }
    if report.changes.is_empty() {
        return page.line("  Nothing is changed in the system.");
    }
    page.line("  Changed while the party lasts:");
    for change in &report.changes {
        page.line(format!("    {}", change_words(change)));
    }
}

/// One change of the system, without a full stop.
pub(super) fn change_words(change: &Change) -> String {
    match change {
        Change::Adapter { name, address } => format!("adapter {name} with {address}"),
        Change::Route { network, adapter } => format!("route {network} by {adapter}"),
        Change::Group { group, adapter } => format!("group {group} joined on {adapter}"),
        Change::FirewallRule { name, adapter } => {
            format!("firewall rule “{name}” for what comes by {adapter}")
        }
        Change::Capture { addresses } => {
            format!("broadcasts of {} go to the party too", addresses.join(", "))
        }
        Change::PortMapping {
            protocol,
            external,
            internal,
        } => format!("the router leads {protocol} {external} to port {internal} here"),
    }
}

fn peer_words(peer: &PeerReport) -> String {
    let name = if peer.name.is_empty() {
        "A new player"
    } else {
        &peer.name
    };
    let state = match (peer.state, peer.path) {
        (_, Some(PathKind::Lan)) => "reached on the local network",
        (_, Some(PathKind::Direct)) => "reached directly",
        (_, Some(PathKind::Relayed)) => "reached by a relay",
        (PeerState::Failed, None) => "not reached, still tried",
        (PeerState::Lost, None) => "lost",
        (PeerState::Disconnected, None) => "gone",
        (PeerState::Connecting | PeerState::Connected | PeerState::Degraded, None) => "being reached",
    };
    let rtt = peer
        .rtt_ms
        .map(|rtt| format!(", {rtt:.1} ms"))
        .unwrap_or_default();
    let expected = match (nat_word(peer.nat), peer.expected) {
        (Some(nat), Expected::Direct) => format!(" Its NAT: {nat}; a direct way is expected."),
        (Some(nat), Expected::Hole) => {
            format!(" Its NAT: {nat}; a direct way usually takes some seconds.")
        }
        (Some(nat), Expected::Perhaps) => format!(" Its NAT: {nat}; a direct way takes luck."),
        (Some(nat), Expected::Relayed) => format!(" Its NAT: {nat}; a relay is expected."),
        (None, _) => String::new(),
    };
    format!("{name} ({}): {state}{rtt}.{expected}", peer.address)
}

fn pair_words(pair: &PairReport) -> String {
    let kind = match pair.kind {
        PairKind::Host => "its own address",
        PairKind::Mapped => "a port its router opened",
        PairKind::Reflexive => "as STUN saw it",
        PairKind::PeerReflexive => "where its packets came from",
        PairKind::Guess => "a guess",
        PairKind::Relayed => "its relay",
    };
    let to = pair.remote.as_deref().unwrap_or("an address");
    let by = match (pair.by, &pair.relay) {
        (PairBy::Udp, _) => String::new(),
        (PairBy::Relay, Some(relay)) => format!(" through our relay {relay}"),
        (PairBy::Relay, None) => " through our relay".to_owned(),
    };
    let rtt = pair
        .rtt_ms
        .map(|rtt| format!(" in {rtt:.1} ms"))
        .unwrap_or_default();
    let why = pair.reason.map_or("", why_not);
    let state = match pair.state {
        PairState::Chosen if pair.answers > 0 => format!("in use, answers{rtt}"),
        PairState::Chosen => "in use".to_owned(),
        PairState::Answered => format!("answers{rtt}, {why}"),
        PairState::Trying => format!("being tried, {} asked", pair.probes),
        PairState::FellSilent => format!("fell silent after {} answers", pair.answers),
        PairState::NeverAnswered => format!("never answered, {} asked", pair.probes),
        PairState::Refused => format!("not tried: {why}"),
    };
    format!("{to} ({kind}){by}: {state}")
}

fn why_not(reason: PairReason) -> &'static str {
    match reason {
        PairReason::LongerWay => "the way in use is shorter",
        PairReason::NoFaster => "no faster than the way in use",
        PairReason::NotYet => "better, and used if it stays so",
        PairReason::Unroutable => "not an address that leads to another computer",
        PairReason::ServicePort => "a port of well-known services",
        PairReason::Ourselves => "it is this computer's own",
        PairReason::NoFamily => "this computer has no address of that kind",
        PairReason::RelayFamily => "our relay has no address of that kind",
        PairReason::RelayIntoHome => "a relay does not send into a home network",
        PairReason::OwnRelay => "it is our own relay",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lanrage_proto::FaultCode;

    fn pair(state: PairState, reason: Option<PairReason>) -> PairReport {
        PairReport {
            by: PairBy::Udp,
            relay: None,
            remote: Some("198.51.100.7:51820".into()),
            kind: PairKind::Reflexive,
            state,
            reason,
            probes: 5,
            answers: u32::from(matches!(state, PairState::Chosen | PairState::Answered)),
            rtt_ms: Some(20.0).filter(|_| matches!(state, PairState::Chosen | PairState::Answered)),
        }
    }

    #[test]
    fn each_way_says_why_it_is_not_used() {
        let to = "198.51.100.7:51820 (as STUN saw it): ";
        for (state, reason, words) in [
            (PairState::Chosen, None, "in use, answers in 20.0 ms"),
            (
                PairState::Answered,
                Some(PairReason::LongerWay),
                "answers in 20.0 ms, the way in use is shorter",
            ),
            (PairState::NeverAnswered, None, "never answered, 5 asked"),
            (
                PairState::Refused,
                Some(PairReason::ServicePort),
                "not tried: a port of well-known services",
            ),
        ] {
            assert_eq!(pair_words(&pair(state, reason)), format!("{to}{words}"));
        }
    }

    #[test]
    fn without_an_engine_the_rest_is_said_with_what_to_do() {
        let seen = Outside {
            socket: "/run/x.sock".into(),
            socket_exists: false,
            adapter_possible: false,
            ipv4: true,
            ipv6: false,
            findings: vec![FaultCode::NoRights.into()],
        };
        let text = outside(&seen);
        assert!(text.contains("/run/x.sock is not there"), "{text}");
        assert!(text.contains("no public IPv6") && text.contains("  ! "), "{text}");
    }

    #[test]
    fn nothing_that_a_terminal_would_obey_is_printed() {
        let mut page = Page::default();
        page.line("a\u{1b}[2Jb");
        assert_eq!(page.0, "a[2Jb\n");
    }
}
