//! Faults: what can go wrong, as stable codes. Each has one sentence and one action in `ui/src/lang`.

use crate::name::NameError;
use crate::party_id::PartyIdError;
use crate::server_url::ServerUrlError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use ts_rs::TS;

macro_rules! codes {
    ($(#[doc = $about:literal])+ $codes:ident: $($(#[doc = $doc:literal])+ $name:ident = $code:literal,)+) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, TS)]
        pub enum $codes {
            $($(#[doc = $doc])+ #[serde(rename = $code)] $name,)+
        }

        impl $codes {
            /// All there are.
            pub const ALL: &[$codes] = &[$($codes::$name),+];

            /// The stable name.
            pub fn as_str(self) -> &'static str {
                match self { $($codes::$name => $code),+ }
            }
        }

        impl std::fmt::Display for $codes {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

codes! {
    /// A failure's stable name, in snake_case on every wire. It serves one-shot refusals and lasting conditions alike.
    /// The texts for people are in the language catalogue.
    FaultCode:

    // What the player typed.
    /// No party ID in the text, or a mistyped one. Detail `reason`.
    PartyIdInvalid = "party_id_invalid",
    /// The ID is good, the address in the invite is not.
    InviteInvalid = "invite_invalid",
    /// The player's name is empty, too long or holds control characters. Detail `reason`.
    NameInvalid = "name_invalid",
    /// The party's name is empty, too long or holds control characters. Detail `reason`.
    PartyNameInvalid = "party_name_invalid",

    // The party.
    /// The control planes that answered know no such party.
    PartyUnknown = "party_unknown",
    /// The party was ended by its host.
    PartyEnded = "party_ended",
    /// Every slot is taken.
    PartyFull = "party_full",
    /// This engine is in another party.
    AlreadyInParty = "already_in_party",
    /// There is no party to leave or to ask about.
    NotInParty = "not_in_party",
    /// Another create, join or leave is still going on.
    Busy = "busy",
    /// The player cancelled it.
    Cancelled = "cancelled",
    /// The host ended the party for all. Detail `by`.
    PartyDissolved = "party_dissolved",
    /// The same device seed is in use on another computer.
    Superseded = "superseded",

    // The control plane.
    /// Joining: no control plane of that party could be found or reached.
    ControlUnreachable = "control_unreachable",
    /// Creating: the set server could not be reached, the party lives on this computer. Detail `server`.
    LocalFallback = "local_fallback",
    /// The control plane of the running party is away; the party goes on.
    ControlAway = "control_away",
    /// `--control` or the setting names no usable address. Detail `reason`.
    ControlAddress = "control_address",
    /// The server's certificate is not trusted. Detail `reason`.
    ControlUntrusted = "control_untrusted",
    /// The other side speaks another version of the protocol. Details `theirs`, `ours`.
    VersionUnsupported = "version_unsupported",
    /// A member signed what this version can't read. Detail `member`.
    PeerVersion = "peer_version",
    /// The control plane said something that is no message, or out of turn.
    ControlMalformed = "control_malformed",
    /// The control plane forgot the running party and waits for its founder.
    PartyForgotten = "party_forgotten",

    /// The party lives on this computer, and friends outside its local network can't reach it.
    HostUnreachable = "host_unreachable",

    // The ways to friends, as `doctor` finds them.
    /// This computer has no address that leads anywhere.
    Offline = "offline",
    /// Nothing from the internet answers by UDP, while TCP gets through.
    UdpBlocked = "udp_blocked",
    /// The NAT takes another port for each destination.
    NatSymmetric = "nat_symmetric",
    /// No STUN server is asked, or none answers.
    StunSilent = "stun_silent",
    /// No relay is offered, and without one some friends can't be reached.
    NoRelay = "no_relay",
    /// A relay does not answer. Detail `relay`.
    RelayAway = "relay_away",
    /// The router does not open ports by itself. Detail `reason`.
    PortMappingRefused = "port_mapping_refused",
    /// No way to a member works. Detail `member`.
    PeerUnreachable = "peer_unreachable",

    // What a control plane refuses.
    /// The proof of admission is missing or wrong.
    NotAdmitted = "not_admitted",
    /// The member holds no lease here.
    NotAMember = "not_a_member",
    /// The tag is taken by another founding.
    PartyExists = "party_exists",
    /// Only the host may do that.
    HostOnly = "host_only",
    /// The record is older than the one known.
    RecordOld = "record_old",
    /// The record is too long or not the sender's.
    RecordInvalid = "record_invalid",
    /// The member is not connected.
    MemberAway = "member_away",
    /// Too many requests or connections in too short a time.
    TooMany = "too_many",

    // A control plane or a member that lies: refused and named.
    /// A record whose signature, seal or party does not fit. Detail `member`.
    RecordRefused = "record_refused",
    /// A record older than one seen before. Detail `member`.
    RecordReplayed = "record_replayed",
    /// A member's key differs from the one pinned. Detail `member`.
    KeyChanged = "key_changed",
    /// Two members claim one lease, or the control plane dealt another than the member signed.
    LeaseClash = "lease_clash",
    /// A signal that is forged or was seen before. Detail `member`.
    SignalRefused = "signal_refused",
    /// The control plane ended the party without the host's word.
    DissolveRefused = "dissolve_refused",
    /// The control plane removed a member without its word while its tunnel lives. Detail `member`.
    LeaveRefused = "leave_refused",
    /// The control plane shows different members to different people.
    ViewsDiffer = "views_differ",
    /// The founding record does not prove the party ID.
    FoundingRefused = "founding_refused",

    // This computer.
    /// The engine lacks the rights to make an adapter.
    NoRights = "no_rights",
    /// The system has no TUN device.
    NoTunDevice = "no_tun_device",
    /// The adapter's name is in use. Detail `name`.
    AdapterBusy = "adapter_busy",
    /// The adapter could not be made or set up. Detail `reason`.
    AdapterFailed = "adapter_failed",
    /// The party's addresses are already routed elsewhere. Details `network`, `interface`.
    AddressClash = "address_clash",
    /// The system does not lead broadcasts to the adapter, so games may not see each other's. Detail `reason`.
    AnnouncesNotRouted = "announces_not_routed",
    /// The port that was asked for is taken. Detail `port`.
    PortTaken = "port_taken",
    /// No UDP socket could be opened. Detail `reason`.
    SocketFailed = "socket_failed",
    /// The device seed is damaged. Detail `path`.
    SeedDamaged = "seed_damaged",
    /// The settings can't be read. Details `path`, `reason`, which names the line where there is one, and `line`.
    SettingsUnreadable = "settings_unreadable",
    /// The state directory can't be used. Details `path`, `reason`.
    StateUnusable = "state_unusable",
    /// Another engine uses the state directory or the socket. Detail `path`.
    EngineRunning = "engine_running",
    /// The process may open no more files or sockets.
    TooManyFiles = "too_many_files",
    /// This system is not supported yet. Detail `system`.
    SystemUnsupported = "system_unsupported",

    // The app.
    /// A file of the app's own can't be read and was set aside. Details `path`, `aside`, `reason`.
    AppFileDamaged = "app_file_damaged",
    /// A file could not be written. Details `path`, `reason`.
    NotSaved = "not_saved",

    // The engine's IPC.
    /// The engine's program is not where it is installed. Detail `path`.
    EngineNotInstalled = "engine_not_installed",
    /// No engine answers. Detail `path`.
    EngineNotRunning = "engine_not_running",
    /// What answers on the engine's socket is not an engine of this system. Detail `path`.
    EngineUntrusted = "engine_untrusted",
    /// Engine and caller are of different versions. Details `theirs`, `ours`.
    EngineVersion = "engine_version",
    /// The caller is not allowed to use this engine.
    NotAllowed = "not_allowed",
    /// The party belongs to another user of this computer.
    PartyOfAnotherUser = "party_of_another_user",
    /// The request is not one that the engine knows. Detail `reason`.
    RequestInvalid = "request_invalid",
    /// Something failed that should not. Detail `reason`.
    Internal = "internal",
}

codes! {
    /// Why, where a fault's detail `reason` is one of ours and not the system's words. The texts are in the language
    /// catalogue.
    Why:

    /// A party ID is longer or shorter.
    IdLength = "id_length",
    /// There is a letter or sign that party IDs do not use.
    IdSymbol = "id_symbol",
    /// A party ID is mistyped somewhere.
    IdCheck = "id_check",
    /// No invite is that long.
    InviteLength = "invite_length",
    /// A name is nothing but white space.
    NameEmpty = "name_empty",
    /// A name is too long.
    NameLength = "name_length",
    /// A name holds control characters.
    NameControl = "name_control",
    /// An address begins neither with `ws://` nor with `wss://`.
    AddressScheme = "address_scheme",
    /// An address is no host and port.
    AddressForm = "address_form",
    /// What travels to that address could be listened to.
    AddressInsecure = "address_insecure",
    /// A control plane in the engine needs no server.
    AddressLocal = "address_local",
    /// A certificate is no longer valid.
    CertificateExpired = "certificate_expired",
    /// A certificate is not valid yet.
    CertificateEarly = "certificate_early",
    /// A certificate is another server's.
    CertificateName = "certificate_name",
    /// Nobody knows who issued a certificate.
    CertificateIssuer = "certificate_issuer",
    /// A server issued its certificate itself.
    CertificateOwn = "certificate_own",
    /// A server shows no certificate.
    CertificateNone = "certificate_none",
    /// A router answers in none of the protocols that open ports.
    RouterSilent = "router_silent",
}

impl From<PartyIdError> for Why {
    fn from(error: PartyIdError) -> Self {
        match error {
            PartyIdError::Length => Why::IdLength,
            PartyIdError::Symbol => Why::IdSymbol,
            PartyIdError::Check => Why::IdCheck,
        }
    }
}

impl From<NameError> for Why {
    fn from(error: NameError) -> Self {
        match error {
            NameError::Empty => Why::NameEmpty,
            NameError::TooLong => Why::NameLength,
            NameError::Control => Why::NameControl,
        }
    }
}

impl From<ServerUrlError> for Why {
    fn from(error: ServerUrlError) -> Self {
        match error {
            ServerUrlError::Scheme => Why::AddressScheme,
            ServerUrlError::Form => Why::AddressForm,
            ServerUrlError::Insecure => Why::AddressInsecure,
        }
    }
}

/// A failure with what its sentence needs to be a concrete one. As a refusal it is an answer, as a condition
/// it lasts until it clears by itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, TS, thiserror::Error)]
#[error("{code}")]
pub struct Fault {
    /// What.
    pub code: FaultCode,
    /// Values for the placeholders of its texts, by name; a `reason` may be a [`Why`]. Never secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[ts(as = "Option<BTreeMap<String, String>>", optional)]
    pub details: BTreeMap<String, String>,
}

impl Fault {
    /// The bare fault.
    pub fn new(code: FaultCode) -> Self {
        Self {
            code,
            details: BTreeMap::new(),
        }
    }

    /// With one more value for its sentence.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.details.insert(name.to_owned(), value.to_string());
        self
    }
}

impl From<FaultCode> for Fault {
    fn from(code: FaultCode) -> Self {
        Self::new(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_their_own_snake_case() {
        for code in FaultCode::ALL {
            assert_eq!(serde_json::to_string(code).unwrap(), format!("\"{code}\""));
            assert!(code.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        }
        for why in Why::ALL {
            assert_eq!(serde_json::to_string(why).unwrap(), format!("\"{why}\""));
        }
    }
}
