// Generated from src-tauri/crates/proto; a test there keeps it current.

export type Status = { 
/**
 * The engine itself.
 */
engine: EngineStatus, 
/**
 * What stands between this computer and the internet.
 */
nat: NatStatus, 
/**
 * The party, when in one.
 */
party: PartyStatus | null, 
/**
 * Games that run on this computer, while in a party; none for callers to whom it does not belong.
 */
games: Array<Game>, 
/**
 * Lasting troubles; each clears by itself.
 */
conditions: Array<Fault>, };

export type EngineStatus = { 
/**
 * Of the program.
 */
version: string, 
/**
 * Whether it can work.
 */
state: EngineState, 
/**
 * What the player is called in the next party unless said otherwise.
 */
player: string, 
/**
 * Its control plane.
 */
control: ControlStatus, };

export type EngineState = "ready" | "degraded" | "no_adapter";

export type ControlStatus = { 
/**
 * Whose it is.
 */
mode: ControlMode, 
/**
 * How it is.
 */
state: ControlState, };

export type ControlMode = "local" | "remote";

export type ControlState = "idle" | "connecting" | "connected" | "away";

export type NatStatus = { 
/**
 * How it treats UDP.
 */
type: NatType, 
/**
 * The address and port that others see, when known.
 */
mapped: string | null, };

export type NatType = "open" | "full_cone" | "restricted_cone" | "port_restricted_cone" | "symmetric" | "unknown";

export type PartyStatus = { 
/**
 * Its name; empty while joining.
 */
name: string, 
/**
 * Its ID; absent for callers to whom the party does not belong.
 */
id: string | null, 
/**
 * The ID with where to find it; absent likewise.
 */
invite: string | null, 
/**
 * How far it is.
 */
state: PartyState, 
/**
 * The member list's, as the control plane counts.
 */
version: number, 
/**
 * In order of their addresses, the own row included.
 */
members: Array<MemberStatus>, 
/**
 * What peers may reach on this computer, and which announces are carried.
 */
rules: Rules, 
/**
 * Which announces came how far.
 */
lobby: LobbyStatus, };

export type PartyState = "creating" | "joining" | "active" | "rejoining" | "leaving";

export type MemberStatus = { 
/**
 * The player's name; empty until the member's record is here.
 */
name: string, 
/**
 * The virtual address.
 */
address: string, 
/**
 * Whether this is the own row.
 */
self: boolean, 
/**
 * Whether it is the host.
 */
host: boolean, 
/**
 * How the connection to it is.
 */
state: PeerState, 
/**
 * Which way packets go; none for the own row and while there is no way.
 */
path: PathKind | null, 
/**
 * The relay that packets go through, by its host's name where that is known; none where they go straight.
 */
relay: string | null, 
/**
 * Round-trip time, smoothed, milliseconds.
 */
rtt_ms: number | null, 
/**
 * Mean deviation of the round-trip time, milliseconds.
 */
jitter_ms: number | null, 
/**
 * Share of probes lost over the last 60 s, 0 to 1.
 */
loss: number | null, 
/**
 * What is wrong with the connection; none while it is well, or still being made.
 */
trouble: PeerTrouble | null, 
/**
 * Its NAT, as it says.
 */
nat: NatType, };

export type PeerState = "connecting" | "connected" | "degraded" | "failed" | "lost" | "disconnected";

export type PeerTrouble = "loss" | "jitter" | "delay" | "silent" | "unreachable" | "no_relay";

export type PathKind = "lan" | "direct" | "relayed";

export type Rules = { 
/**
 * Services of this computer that peers may use.
 */
share: Sharing, 
/**
 * Multicast is carried as broadcast is.
 */
multicast: boolean, 
/**
 * DHCP is carried. It configures computers: two households would get each other's.
 */
dhcp: boolean, 
/**
 * Multicast DNS and LLMNR are carried, by which systems name themselves and list printers and loudspeakers.
 */
mdns: boolean, 
/**
 * SSDP and WS-Discovery are carried, by which systems list routers, televisions and computers.
 */
ssdp: boolean, 
/**
 * NetBIOS names and datagrams are carried, by which Windows lists computers that share files.
 */
netbios: boolean, };

export type RulesChange = { 
/**
 * See [`Rules::share`].
 */
share: Sharing | null, 
/**
 * See [`Rules::multicast`].
 */
multicast: boolean | null, 
/**
 * See [`Rules::dhcp`].
 */
dhcp: boolean | null, 
/**
 * See [`Rules::mdns`].
 */
mdns: boolean | null, 
/**
 * See [`Rules::ssdp`].
 */
ssdp: boolean | null, 
/**
 * See [`Rules::netbios`].
 */
netbios: boolean | null, };

export type Sharing = "nothing" | "files" | "everything";

export type LobbyStatus = { 
/**
 * What programs here announced within the last minute, in order of their ports.
 */
announces: Array<AnnounceStatus>, 
/**
 * What came from peers within the last minute, in order of their addresses.
 */
heard: Array<HeardStatus>, };

export type AnnounceStatus = { 
/**
 * The program's own UDP port, which answers come to.
 */
port: number, 
/**
 * Where it sent to: a broadcast address or a group.
 */
destination: string, 
/**
 * The UDP port that it sent to: who wants to see it listens there.
 */
to_port: number, 
/**
 * The network interface it was seen on; none for the party's own adapter.
 */
interface: string | null, 
/**
 * To how many members it was sent.
 */
sent: number, 
/**
 * On how many members' computers it arrived, as their engines confirm.
 */
delivered: number, 
/**
 * What became of it with each of the others.
 */
members: Array<AnnounceMember>, };

export type AnnounceMember = { 
/**
 * The player's name.
 */
name: string, 
/**
 * The virtual address.
 */
address: string, 
/**
 * How far it came.
 */
reach: AnnounceReach, 
/**
 * Whether a program there listens on the UDP port it was sent to.
 */
listens: Listens, 
/**
 * Whether something came back from there to the announcing program's port.
 */
answered: boolean, };

export type AnnounceReach = "unsent" | "sent" | "delivered" | "nearby";

export type Listens = "unknown" | "yes" | "no";

export type HeardStatus = { 
/**
 * The player's name.
 */
name: string, 
/**
 * The virtual address.
 */
address: string, 
/**
 * The announcing program's UDP port.
 */
port: number, 
/**
 * Where it sent to.
 */
destination: string, 
/**
 * The UDP port that it sent to.
 */
to_port: number, 
/**
 * Whether a program here listens there.
 */
listens: Listens, };

export type Game = { 
/**
 * Its name.
 */
name: string, 
/**
 * Where friends reach it, as `address:port` to copy; absent while it waits for nobody.
 */
address: string | null, 
/**
 * The program, as the system names it.
 */
process: string, 
/**
 * After so many seconds of silence the game takes a player for gone; absent where its profile does not say.
 */
keepalive: number | null, 
/**
 * How to join it, or what is special about it: one of the notes that have words in every language (`notes.*` of the
 * catalogue), or a sentence of a profile of the player's own.
 */
notes: string | null, };

export type Created = { 
/**
 * Its name.
 */
party: string, 
/**
 * Its ID.
 */
id: string, 
/**
 * The ID with where to find it.
 */
invite: string, 
/**
 * The own virtual address.
 */
address: string, };

export type Joined = { 
/**
 * Its name.
 */
party: string, 
/**
 * Its ID.
 */
id: string, 
/**
 * The own virtual address.
 */
address: string, };

export type Report = { 
/**
 * The engine, and the control plane it uses.
 */
engine: EngineStatus, 
/**
 * Where the control plane is.
 */
control: ControlReport, 
/**
 * Whether UDP gets through to the internet.
 */
udp: UdpState, 
/**
 * What stands between this computer and the internet, by IPv4.
 */
ipv4: FamilyReport, 
/**
 * Likewise, by IPv6.
 */
ipv6: FamilyReport, 
/**
 * The relays in use, best first; none without a party.
 */
relays: Array<RelayReport>, 
/**
 * Ports that the router in front was asked for.
 */
mapping: MappingReport, 
/**
 * Whether friends elsewhere reach the party's home; absent where that is not this computer.
 */
hosting: HostingReport | null, 
/**
 * The network adapter, and the right to make one.
 */
adapter: AdapterReport, 
/**
 * What is different in the system and in the router while this engine runs its party.
 */
changes: Array<Change>, 
/**
 * The other members.
 */
peers: Array<PeerReport>, 
/**
 * What is wrong, each with its sentence and its action in the language catalogue. Conditions are among them.
 */
findings: Array<Fault>, };

export type ControlReport = { 
/**
 * Its address: the party's home, or the server that the next party would be created on.
 */
at: string | null, 
/**
 * Whether it answers; absent where nobody asked it lately.
 */
answers: boolean | null, };

export type UdpState = "open" | "blocked" | "unknown";

export type FamilyReport = { 
/**
 * Whether this computer has an address of it that is not for local networks alone.
 */
public_address: boolean, 
/**
 * Whether it has any that leads out.
 */
address: boolean, 
/**
 * The NAT's type.
 */
type: NatType, 
/**
 * Why that is not known; absent exactly when it is.
 */
reason: Unproven | null, 
/**
 * The address and port that others see.
 */
mapped: string | null, 
/**
 * Whether that is another than this computer's own.
 */
translated: boolean | null, 
/**
 * What a mapping depends on.
 */
mapping: Mapping | null, 
/**
 * Who may send to it.
 */
filtering: Filtering | null, 
/**
 * The STUN servers that were asked, and their other addresses, with their answers.
 */
servers: Array<StunReport>, 
/**
 * The tests of filtering.
 */
tests: Array<FilterReport>, 
/**
 * It rests partly on what was found earlier, with no sign of a change.
 */
earlier: boolean, };

export type Mapping = "endpoint_independent" | "address_dependent" | "address_and_port_dependent" | "endpoint_dependent";

export type Filtering = "endpoint_independent" | "address_dependent" | "address_and_port_dependent";

export type Unproven = "untried" | "no_servers" | "in_progress" | "no_answer" | "one_destination" | "no_second_address" | "alternate_contacted" | "alternate_silent" | "lossy" | "changed";

export type StunReport = { 
/**
 * Address and port.
 */
server: string, 
/**
 * The address and port that it saw; absent when it did not answer.
 */
saw: string | null, 
/**
 * Round-trip time.
 */
rtt_ms: number | null, };

export type FilterReport = { 
/**
 * Which.
 */
server: string, 
/**
 * Its other address and port.
 */
other: string, 
/**
 * Asked to change both, it answered from here.
 */
both: string | null, 
/**
 * Asked to change the port, it answered from here.
 */
port: string | null, 
/**
 * Of so many plain requests beside, none where a fresh socket asked, …
 */
asked: number, 
/**
 * … so many were answered.
 */
answered: number, };

export type RelayReport = { 
/**
 * The server's name or address.
 */
server: string, 
/**
 * Whether there is an allocation.
 */
up: boolean, 
/**
 * What peers see of it.
 */
relayed: string | null, 
/**
 * To the relay and back.
 */
rtt_ms: number | null, 
/**
 * The ways to it, best first.
 */
ways: Array<WayReport>, };

export type WayReport = { 
/**
 * As RFC 7065 writes it.
 */
uri: string, 
/**
 * What it is carried by.
 */
transport: TurnTransport, 
/**
 * What came of it.
 */
state: WayState, 
/**
 * Why it failed, as the system or the server says.
 */
reason: string | null, };

export type WayState = "used" | "failed" | "untried";

export type MappingReport = { 
/**
 * How far it is.
 */
state: MappingState, 
/**
 * What the router speaks.
 */
protocol: MappingProtocol | null, 
/**
 * The router.
 */
gateway: string | null, 
/**
 * The public address and port that lead to the engine's UDP port.
 */
udp: string | null, 
/**
 * The ones that lead to the control plane in this engine.
 */
tcp: string | null, 
/**
 * Why there is none, or not all.
 */
reason: string | null, };

export type MappingState = "off" | "idle" | "asking" | "mapped" | "needless" | "refused";

export type MappingProtocol = "pcp" | "nat_pmp" | "upnp";

export type HostingReport = { 
/**
 * Whether friends elsewhere reach it; absent until it is known.
 */
reachable: boolean | null, 
/**
 * Where they do.
 */
via: Array<string>, };

export type AdapterReport = { 
/**
 * Whether this engine can make one; a finding says why not.
 */
possible: boolean, 
/**
 * Its name while there is one.
 */
name: string | null, 
/**
 * Its address.
 */
address: string | null, 
/**
 * Bytes in a packet on it.
 */
mtu: number | null, };

export type Change = { "what": "adapter", 
/**
 * Its name.
 */
name: string, 
/**
 * Its address.
 */
address: string, } | { "what": "route", 
/**
 * To this network.
 */
network: string, 
/**
 * By this adapter.
 */
adapter: string, } | { "what": "group", 
/**
 * The group.
 */
group: string, 
/**
 * On this interface, the adapter or another.
 */
adapter: string, } | { "what": "firewall_rule", 
/**
 * The rule's name.
 */
name: string, 
/**
 * By this adapter alone.
 */
adapter: string, } | { "what": "capture", 
/**
 * Of this computer's other interfaces.
 */
addresses: Array<string>, } | { "what": "port_mapping", 
/**
 * `udp` or `tcp`.
 */
protocol: string, 
/**
 * The router's address and port.
 */
external: string, 
/**
 * The port on this computer.
 */
internal: number, };

export type PeerReport = { 
/**
 * The player's name.
 */
name: string, 
/**
 * The virtual address.
 */
address: string, 
/**
 * How the connection is.
 */
state: PeerState, 
/**
 * Which way packets go.
 */
path: PathKind | null, 
/**
 * Round-trip time on it.
 */
rtt_ms: number | null, 
/**
 * Its NAT, as it says.
 */
nat: NatType, 
/**
 * What the two NATs let expect.
 */
expected: Expected, 
/**
 * The ways tried, best first.
 */
pairs: Array<PairReport>, };

export type Expected = "direct" | "hole" | "perhaps" | "relayed";

export type PairReport = { 
/**
 * What it leaves by.
 */
by: PairBy, 
/**
 * Our address on the relay, where it leaves by one.
 */
relay: string | null, 
/**
 * The peer's address and port.
 */
remote: string | null, 
/**
 * How that address was learnt.
 */
kind: PairKind, 
/**
 * What came of it.
 */
state: PairState, 
/**
 * Why it is not the one in use.
 */
reason: PairReason | null, 
/**
 * Probes sent.
 */
probes: number, 
/**
 * Probes answered.
 */
answers: number, 
/**
 * Round-trip time, smoothed, while it answers.
 */
rtt_ms: number | null, };

export type PairBy = "udp" | "relay";

export type PairKind = "host" | "mapped" | "reflexive" | "peer_reflexive" | "guess" | "relayed";

export type PairState = "chosen" | "answered" | "trying" | "fell_silent" | "never_answered" | "refused";

export type PairReason = "longer_way" | "no_faster" | "not_yet" | "unroutable" | "service_port" | "ourselves" | "no_family" | "relay_family" | "relay_into_home" | "own_relay";

export type TurnTransport = "udp" | "tcp" | "tls";

export type SettingKey = "player" | "control" | "stun" | "relays" | "port" | "port_mapping" | "punching";

export type SettingsReport = { 
/**
 * As chosen last.
 */
settings: EngineSettings, 
/**
 * What was changed and is in effect only from the next party on. Everything else is in effect already.
 */
pending: Array<SettingKey>, 
/**
 * What was said on the engine's command line: a change of it is refused.
 */
fixed: Array<SettingKey>, };

export type EngineSettings = { 
/**
 * What the player is called where a caller gives no name; the system's name for the user when absent.
 */
player: string | null, 
/**
 * `local`, or the server's `wss://` or `ws://` address.
 */
control: string, 
/**
 * STUN servers.
 */
stun: StunChoice, 
/**
 * Relays of one's own, used before those of a control plane.
 */
relays: RelayView, 
/**
 * The UDP port; chosen by the engine when absent.
 */
port: number | null, 
/**
 * Whether the router in front is asked to lead ports here.
 */
port_mapping: boolean, 
/**
 * Whether holes are made through NATs.
 */
punching: boolean, };

export type StunChoice = { "kind": "public" } | { "kind": "none" } | { "kind": "own", 
/**
 * Each `host` or `host:port`.
 */
servers: Array<string>, };

export type RelayView = { 
/**
 * `turn:` and `turns:` addresses (RFC 7065).
 */
servers: Array<string>, 
/**
 * The user name for them.
 */
user: string | null, 
/**
 * Whether there is a password.
 */
has_password: boolean, };

export type RelayChange = { 
/**
 * `turn:` and `turns:` addresses (RFC 7065); none uses the control plane's alone.
 */
servers: Array<string>, 
/**
 * The user name for them.
 */
user: string | null, 
/**
 * The password for them; the one that is known when absent.
 */
password: string | null, };

export type SettingChange = { "key": "player", "value": string | null } | { "key": "control", "value": string } | { "key": "stun", "value": StunChoice } | { "key": "relays", "value": RelayChange } | { "key": "port", "value": number | null } | { "key": "port_mapping", "value": boolean } | { "key": "punching", "value": boolean };

export type ControlTest = { 
/**
 * Its address, as it was understood.
 */
address: string, 
/**
 * Whether the connection is encrypted and the server's certificate trusted.
 */
encrypted: boolean, 
/**
 * From the request to its answer, milliseconds.
 */
rtt_ms: number, };

export type LogPage = { 
/**
 * Lines, the oldest first, without what is nobody else's business.
 */
lines: Array<string>, 
/**
 * What to ask for next: the number of the line after the last one here.
 */
next: number, 
/**
 * There are more already.
 */
more: boolean, };

export type Fault = { 
/**
 * What.
 */
code: FaultCode, 
/**
 * Values for the placeholders of its texts, by name; a `reason` may be a [`Why`]. Never secrets.
 */
details?: { [key in string]: string }, };

export type FaultCode = "party_id_invalid" | "invite_invalid" | "name_invalid" | "party_name_invalid" | "party_unknown" | "party_ended" | "party_full" | "already_in_party" | "not_in_party" | "busy" | "cancelled" | "party_dissolved" | "superseded" | "control_unreachable" | "local_fallback" | "control_away" | "control_address" | "control_untrusted" | "version_unsupported" | "peer_version" | "control_malformed" | "party_forgotten" | "host_unreachable" | "offline" | "udp_blocked" | "nat_symmetric" | "stun_silent" | "no_relay" | "relay_away" | "port_mapping_refused" | "peer_unreachable" | "not_admitted" | "not_a_member" | "party_exists" | "host_only" | "record_old" | "record_invalid" | "member_away" | "too_many" | "record_refused" | "record_replayed" | "key_changed" | "lease_clash" | "signal_refused" | "dissolve_refused" | "leave_refused" | "views_differ" | "founding_refused" | "no_rights" | "no_tun_device" | "adapter_busy" | "adapter_failed" | "address_clash" | "announces_not_routed" | "port_taken" | "socket_failed" | "seed_damaged" | "settings_unreadable" | "state_unusable" | "engine_running" | "too_many_files" | "system_unsupported" | "app_file_damaged" | "not_saved" | "engine_not_installed" | "engine_not_running" | "engine_untrusted" | "engine_version" | "not_allowed" | "party_of_another_user" | "request_invalid" | "internal";

export type Why = "id_length" | "id_symbol" | "id_check" | "invite_length" | "name_empty" | "name_length" | "name_control" | "address_scheme" | "address_form" | "address_insecure" | "address_local" | "certificate_expired" | "certificate_early" | "certificate_name" | "certificate_issuer" | "certificate_own" | "certificate_none" | "router_silent";

export const FAULT_CODES: readonly FaultCode[] = [
  "party_id_invalid",
  "invite_invalid",
  "name_invalid",
  "party_name_invalid",
  "party_unknown",
  "party_ended",
  "party_full",
  "already_in_party",
  "not_in_party",
  "busy",
  "cancelled",
  "party_dissolved",
  "superseded",
  "control_unreachable",
  "local_fallback",
  "control_away",
  "control_address",
  "control_untrusted",
  "version_unsupported",
  "peer_version",
  "control_malformed",
  "party_forgotten",
  "host_unreachable",
  "offline",
  "udp_blocked",
  "nat_symmetric",
  "stun_silent",
  "no_relay",
  "relay_away",
  "port_mapping_refused",
  "peer_unreachable",
  "not_admitted",
  "not_a_member",
  "party_exists",
  "host_only",
  "record_old",
  "record_invalid",
  "member_away",
  "too_many",
  "record_refused",
  "record_replayed",
  "key_changed",
  "lease_clash",
  "signal_refused",
  "dissolve_refused",
  "leave_refused",
  "views_differ",
  "founding_refused",
  "no_rights",
  "no_tun_device",
  "adapter_busy",
  "adapter_failed",
  "address_clash",
  "announces_not_routed",
  "port_taken",
  "socket_failed",
  "seed_damaged",
  "settings_unreadable",
  "state_unusable",
  "engine_running",
  "too_many_files",
  "system_unsupported",
  "app_file_damaged",
  "not_saved",
  "engine_not_installed",
  "engine_not_running",
  "engine_untrusted",
  "engine_version",
  "not_allowed",
  "party_of_another_user",
  "request_invalid",
  "internal",
];

export const WHYS: readonly Why[] = [
  "id_length",
  "id_symbol",
  "id_check",
  "invite_length",
  "name_empty",
  "name_length",
  "name_control",
  "address_scheme",
  "address_form",
  "address_insecure",
  "address_local",
  "certificate_expired",
  "certificate_early",
  "certificate_name",
  "certificate_issuer",
  "certificate_own",
  "certificate_none",
  "router_silent",
];

export const IPC_VERSION = 1;
