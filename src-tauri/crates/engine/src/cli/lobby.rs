//! Who sees whose game, and what friends may reach here, as a person reads it.

use lanrage_proto::ipc::PartyStatus;
use lanrage_proto::lobby::{
    AnnounceMember, AnnounceReach, AnnounceStatus, HeardStatus, Listens, Rules, Sharing,
};
use std::fmt::Write as _;

/// What is known of announces and rules, if that is anything out of the ordinary.
pub(super) fn lines(out: &mut String, party: &PartyStatus) {
    let lobby = &party.lobby;
    if !lobby.announces.is_empty() || !lobby.heard.is_empty() {
        out.push('\n');
    }
    for announce in &lobby.announces {
        let _ = writeln!(out, "{}", about(announce));
    }
    for heard in &lobby.heard {
        let _ = writeln!(out, "{}", about_heard(heard));
    }
    if party.rules != Rules::default() {
        out.push('\n');
        for line in rules(&party.rules) {
            let _ = writeln!(out, "{line}");
        }
    }
}

/// An announce of a program here: what it is, then who sees it and who does not, and why.
fn about(announce: &AnnounceStatus) -> String {
    let seen_on = match &announce.interface {
        Some(interface) => format!(" on {}", shown(interface)),
        None => String::new(),
    };
    let mut text = format!(
        "Your game on UDP {} announces itself to {}:{}{seen_on}.",
        announce.port, announce.destination, announce.to_port
    );
    let mut say = |members: Vec<&AnnounceMember>, sentence: &dyn Fn(&Names) -> String| {
        if !members.is_empty() {
            let _ = write!(
                text,
                " {}",
                sentence(&Names(members.iter().map(|member| name(member)).collect()))
            );
        }
    };
    let all = &announce.members;
    let of = |wanted: Seen| {
        all.iter()
            .filter(|member| seen(member) == wanted)
            .collect::<Vec<_>>()
    };
    let port = announce.to_port;
    say(of(Seen::Answered), &|names| {
        format!("{names} {} your lobby and answered.", names.verb("sees", "see"))
    });
    say(of(Seen::Sees), &|names| format!("{names} can see your lobby."));
    say(of(Seen::Nearby), &|names| {
        format!(
            "{names} {} on your own network and can see it there.",
            names.verb("is", "are")
        )
    });
    say(of(Seen::NobodyListens), &|names| {
        format!(
            "It reached {}, but no program there listens on UDP {port}.",
            names.computers()
        )
    });
    say(of(Seen::Unknown), &|names| {
        format!(
            "It reached {}; whether a program there listens on UDP {port} is not known.",
            names.computers()
        )
    });
    say(of(Seen::Unconfirmed), &|names| {
        format!("It was sent to {names}, but not confirmed yet.")
    });
    say(of(Seen::Unsent), &|names| {
        format!("It could not be sent to {names}: there is no connection.")
    });
    text
}

/// What a member sees of an announce.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    Answered,
    Sees,
    Nearby,
    NobodyListens,
    Unknown,
    Unconfirmed,
    Unsent,
}

fn seen(member: &AnnounceMember) -> Seen {
    match (member.reach, member.listens) {
        _ if member.answered => Seen::Answered,
        (AnnounceReach::Unsent, _) => Seen::Unsent,
        (AnnounceReach::Sent, _) => Seen::Unconfirmed,
        (AnnounceReach::Nearby, _) => Seen::Nearby,
        (AnnounceReach::Delivered, Listens::Yes) => Seen::Sees,
        (AnnounceReach::Delivered, Listens::No) => Seen::NobodyListens,
        (AnnounceReach::Delivered, Listens::Unknown) => Seen::Unknown,
    }
}

/// A peer's announce, where that may explain why a game is not seen here.
fn about_heard(heard: &HeardStatus) -> String {
    let name = named(&heard.name);
    let HeardStatus { port, to_port, .. } = heard;
    match heard.listens {
        Listens::Yes => format!("{name}'s game on UDP {port} can be seen here."),
        Listens::No => format!(
            "{name}'s game on UDP {port} announces itself here, but no program of yours listens on UDP {to_port}."
        ),
        Listens::Unknown => format!("{name}'s game on UDP {port} announces itself here, to UDP {to_port}."),
    }
}

/// What friends may reach here and what is carried, a line each.
pub(super) fn rules(rules: &Rules) -> Vec<String> {
    let mut lines = vec![
        match rules.share {
            Sharing::Nothing => {
                "Friends reach games on your computer, but neither its shared files nor remote control."
            }
            Sharing::Files => "Friends reach the files and printers that your computer shares.",
            Sharing::Everything => {
                "Friends reach everything that your computer serves, remote control included."
            }
        }
        .to_owned(),
    ];
    let kinds = [
        (rules.dhcp, "DHCP"),
        (rules.mdns, "multicast DNS"),
        (rules.ssdp, "SSDP"),
        (rules.netbios, "NetBIOS"),
    ];
    let carried: Vec<String> = kinds
        .iter()
        .filter(|(on, _)| *on)
        .map(|(_, name)| (*name).to_owned())
        .collect();
    if !carried.is_empty() {
        lines.push(format!("Carried to friends too: {}.", Names(carried)));
    }
    if !rules.multicast {
        lines.push("Multicast is not carried: games that find each other by it don't.".to_owned());
    }
    lines
}

fn name(member: &AnnounceMember) -> String {
    named(&member.name)
}

fn named(name: &str) -> String {
    if name.is_empty() {
        "a new player".to_owned()
    } else {
        shown(name)
    }
}

/// Nothing that a terminal would obey.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

/// Some players, in a sentence.
struct Names(Vec<String>);

impl Names {
    fn verb(&self, one: &'static str, many: &'static str) -> &'static str {
        if self.0.len() == 1 { one } else { many }
    }

    fn computers(&self) -> String {
        let owners = Names(self.0.iter().map(|name| format!("{name}'s")).collect());
        format!("{owners} {}", self.verb("computer", "computers"))
    }
}

impl std::fmt::Display for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.as_slice() {
            [] => Ok(()),
            [one] => f.write_str(one),
            [before @ .., last] => write!(f, "{} and {last}", before.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, reach: AnnounceReach, listens: Listens) -> AnnounceMember {
        AnnounceMember {
            name: name.into(),
            address: "10.66.0.9".into(),
            reach,
            listens,
            answered: false,
        }
    }

    fn announce(members: Vec<AnnounceMember>) -> AnnounceStatus {
        AnnounceStatus {
            port: 6112,
            destination: "255.255.255.255".into(),
            to_port: 6112,
            interface: None,
            sent: 3,
            delivered: 2,
            members,
        }
    }

    #[test]
    fn a_friend_reads_who_sees_the_lobby_and_why_others_do_not() {
        use AnnounceReach::{Delivered, Sent, Unsent};
        let text = about(&announce(vec![
            member("Tom", Delivered, Listens::Yes),
            member("Ana", Delivered, Listens::No),
            member("Zoë", Sent, Listens::Unknown),
            member("Ben", Unsent, Listens::Unknown),
        ]));
        assert_eq!(
            text,
            "Your game on UDP 6112 announces itself to 255.255.255.255:6112. Tom can see your lobby. It reached \
             Ana's computer, but no program there listens on UDP 6112. It was sent to Zoë, but not confirmed yet. \
             It could not be sent to Ben: there is no connection."
        );
    }

    #[test]
    fn several_are_named_together() {
        use AnnounceReach::{Delivered, Nearby};
        let mut all = announce(vec![
            member("Tom", Delivered, Listens::No),
            member("Ana", Delivered, Listens::No),
            member("Zoë", Delivered, Listens::No),
            member("Ben", Nearby, Listens::Unknown),
            AnnounceMember {
                answered: true,
                ..member("Cleo", Delivered, Listens::Unknown)
            },
        ]);
        all.interface = Some("eth0".into());
        assert_eq!(
            about(&all),
            "Your game on UDP 6112 announces itself to 255.255.255.255:6112 on eth0. Cleo sees your lobby and \
             answered. Ben is on your own network and can see it there. It reached Tom's, Ana's and Zoë's computers, \
             but no program there listens on UDP 6112."
        );
    }

    #[test]
    fn what_comes_from_friends_is_explained() {
        let heard = HeardStatus {
            name: "Tom\u{1b}".into(),
            address: "10.66.0.2".into(),
            port: 3979,
            destination: "255.255.255.255".into(),
            to_port: 3979,
            listens: Listens::No,
        };
        assert_eq!(
            about_heard(&heard),
            "Tom's game on UDP 3979 announces itself here, but no program of yours listens on UDP 3979."
        );
    }

    #[test]
    fn rules_are_sentences() {
        let lines = rules(&Rules {
            share: Sharing::Files,
            mdns: true,
            ssdp: true,
            multicast: false,
            ..Rules::default()
        });
        assert_eq!(
            lines,
            [
                "Friends reach the files and printers that your computer shares.",
                "Carried to friends too: multicast DNS and SSDP.",
                "Multicast is not carried: games that find each other by it don't."
            ]
        );
    }
}
