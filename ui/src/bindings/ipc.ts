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

export type Fault = { 
/**
 * What.
 */
code: FaultCode, 
/**
 * Values for the placeholders of its texts, by name. Never secrets.
 */
details?: { [key in string]: string }, };

export type FaultCode = "party_id_invalid" | "invite_invalid" | "name_invalid" | "party_name_invalid" | "party_unknown" | "party_ended" | "party_full" | "already_in_party" | "not_in_party" | "busy" | "cancelled" | "party_dissolved" | "superseded" | "control_unreachable" | "local_fallback" | "control_away" | "control_address" | "control_untrusted" | "version_unsupported" | "control_malformed" | "party_forgotten" | "host_unreachable" | "offline" | "udp_blocked" | "nat_symmetric" | "stun_silent" | "no_relay" | "relay_away" | "port_mapping_refused" | "peer_unreachable" | "not_admitted" | "not_a_member" | "party_exists" | "host_only" | "record_old" | "record_invalid" | "member_away" | "too_many" | "record_refused" | "record_replayed" | "key_changed" | "lease_clash" | "signal_refused" | "dissolve_refused" | "leave_refused" | "views_differ" | "founding_refused" | "no_rights" | "no_tun_device" | "adapter_busy" | "adapter_failed" | "address_clash" | "port_taken" | "socket_failed" | "seed_damaged" | "settings_unreadable" | "state_unusable" | "engine_running" | "too_many_files" | "system_unsupported" | "engine_not_running" | "engine_untrusted" | "engine_version" | "not_allowed" | "party_of_another_user" | "request_invalid" | "internal";

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
  "port_taken",
  "socket_failed",
  "seed_damaged",
  "settings_unreadable",
  "state_unusable",
  "engine_running",
  "too_many_files",
  "system_unsupported",
  "engine_not_running",
  "engine_untrusted",
  "engine_version",
  "not_allowed",
  "party_of_another_user",
  "request_invalid",
  "internal",
];

export const IPC_VERSION = 1;
