//! Scenes in which something is wrong.

use super::{crowd, direct, idle, in_party, lost, me, peer, unreached};
use lanrage_proto::ipc::{
    ControlMode, ControlState, EngineState, PartyState, PathKind, PeerState, PeerTrouble, Status,
};
use lanrage_proto::{Fault, FaultCode, Why};

/// What an engine shows that works, but not as it should.
pub(super) fn shown() -> Vec<(&'static str, Status)> {
    let of = |status: Status, code: FaultCode| with(status, code.into());
    vec![
        ("no-rights", no_adapter(FaultCode::NoRights.into())),
        ("no-tun", no_adapter(FaultCode::NoTunDevice.into())),
        (
            "port-taken",
            with(idle(), Fault::new(FaultCode::PortTaken).with("port", 51820)),
        ),
        ("offline", of(lonely(), FaultCode::Offline)),
        ("udp-blocked", of(relayed(), FaultCode::UdpBlocked)),
        ("symmetric", of(relayed(), FaultCode::NatSymmetric)),
        ("no-relay", of(mixed_up(), FaultCode::NoRelay)),
        ("control-away", control_away()),
        ("local-mode", local_mode()),
        ("host-unreachable", of(alone(), FaultCode::HostUnreachable)),
        ("clash", with(direct(), clash())),
        ("kicked", of(idle(), FaultCode::NotAMember)),
        (
            "dissolved",
            with(idle(), Fault::new(FaultCode::PartyDissolved).with("by", "Tom")),
        ),
        ("superseded", of(alone(), FaultCode::Superseded)),
        ("resumed", resumed()),
        ("restored", restored()),
        ("liar", liar()),
        (
            "relay-away",
            with(
                relayed(),
                Fault::new(FaultCode::RelayAway).with("relay", "turn.example.org"),
            ),
        ),
        ("stun-silent", of(crowd(), FaultCode::StunSilent)),
        (
            "peer-version",
            with(lonely(), Fault::new(FaultCode::PeerVersion).with("member", "Tom")),
        ),
    ]
}

/// Why a create or a join may be refused.
pub(super) fn refused() -> impl Iterator<Item = (&'static str, Fault)> {
    [
        (
            "wrong-id",
            Fault::new(FaultCode::PartyIdInvalid).with("reason", Why::IdCheck),
        ),
        ("unknown-id", FaultCode::PartyUnknown.into()),
        ("ended-id", FaultCode::PartyEnded.into()),
        ("full", FaultCode::PartyFull.into()),
        ("nobody-there", FaultCode::ControlUnreachable.into()),
        ("renewed-id", FaultCode::NotAdmitted.into()),
        (
            "other-version",
            Fault::new(FaultCode::VersionUnsupported)
                .with("theirs", 3)
                .with("ours", 2),
        ),
        ("address-clash", clash()),
        (
            "adapter-failed",
            Fault::new(FaultCode::AdapterFailed).with("reason", "the driver says no"),
        ),
        (
            "untrusted-server",
            Fault::new(FaultCode::ControlUntrusted).with("reason", Why::CertificateOwn),
        ),
    ]
    .into_iter()
}

/// Why a window may not get to talk to its engine.
pub(super) fn away() -> impl Iterator<Item = (&'static str, Fault)> {
    [
        ("engine-not-installed", FaultCode::EngineNotInstalled.into()),
        ("engine-stopped", FaultCode::EngineNotRunning.into()),
        (
            "engine-version",
            Fault::new(FaultCode::EngineVersion)
                .with("theirs", 2)
                .with("ours", 1),
        ),
        ("engine-refuses", FaultCode::NotAllowed.into()),
        ("engine-untrusted", FaultCode::EngineUntrusted.into()),
    ]
    .into_iter()
}

fn with(mut status: Status, fault: Fault) -> Status {
    status.engine.state = EngineState::Degraded;
    status.conditions.push(fault);
    status
}

fn clash() -> Fault {
    Fault::new(FaultCode::AddressClash)
        .with("network", "10.66.0.0/16")
        .with("interface", "tun0")
}

fn no_adapter(fault: Fault) -> Status {
    let mut status = with(idle(), fault);
    status.engine.state = EngineState::NoAdapter;
    status
}

fn alone() -> Status {
    in_party(vec![me(1, "Anna", true)])
}

/// Everybody is gone, since this computer is.
fn lonely() -> Status {
    in_party(vec![me(1, "Anna", true), lost(2, "Tom"), lost(3, "Zoë")])
}

fn relayed() -> Status {
    let relayed = |slot, name, rtt| peer(slot, name, PathKind::Relayed, rtt);
    in_party(vec![
        me(1, "Anna", true),
        relayed(2, "Tom", 44.0),
        relayed(3, "Zoë", 61.0),
    ])
}

/// One friend can't be had without a relay.
fn mixed_up() -> Status {
    in_party(vec![
        me(1, "Anna", true),
        peer(2, "Tom", PathKind::Direct, 21.0),
        super::failed(3, "Zoë"),
    ])
}

fn control_away() -> Status {
    let mut status = with(direct(), FaultCode::ControlAway.into());
    status.engine.control.mode = ControlMode::Remote;
    status.engine.control.state = ControlState::Away;
    state(&mut status, PartyState::Rejoining);
    status
}

fn local_mode() -> Status {
    with(
        alone(),
        Fault::new(FaultCode::LocalFallback).with("server", "wss://play.example.org"),
    )
}

/// A moment after the lid was opened: the party is known, nobody has answered yet.
fn resumed() -> Status {
    let silent = |mut member: lanrage_proto::ipc::MemberStatus| {
        member.state = PeerState::Degraded;
        member.trouble = Some(PeerTrouble::Silent);
        member
    };
    let mut status = in_party(vec![
        me(1, "Anna", true),
        silent(peer(2, "Tom", PathKind::Direct, 38.0)),
        silent(peer(3, "Zoë", PathKind::Relayed, 52.0)),
    ]);
    state(&mut status, PartyState::Rejoining);
    status
}

/// A moment after the engine was started again: the party is in its notes, everybody is being reached anew.
fn restored() -> Status {
    let mut status = in_party(vec![
        me(1, "Anna", true),
        unreached(2, "Tom", PeerState::Connecting),
        unreached(3, "Zoë", PeerState::Connecting),
    ]);
    status.engine.control.state = ControlState::Connecting;
    state(&mut status, PartyState::Rejoining);
    status
}

fn liar() -> Status {
    let changed = Fault::new(FaultCode::KeyChanged).with("member", "Tom");
    let clash = Fault::new(FaultCode::LeaseClash).with("member", "Zoë");
    with(with(direct(), changed), clash)
}

fn state(status: &mut Status, state: PartyState) {
    if let Some(party) = &mut status.party {
        party.state = state;
    }
}
