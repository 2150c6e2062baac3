/** The picture of each state: lines on a field of 48 by 48, what matters in them apart from the rest. */

import type { FaultCode } from "../bindings/ipc";

export interface Drawing {
  /** What is there. */
  lines: string;
  /** What is the matter with it. */
  point: string;
}

const ring = (x: number, y: number, r: number) => `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0${-2 * r} 0`;
const house = "M8 24 24 9l16 15M13 20v20h22V20";

export const DRAWINGS = {
  adapter: { lines: "M8 11h32v26H8zM17 37v-8h4v-5h6v5h4v8", point: "M15 17v2M21 17v2M27 17v2M33 17v2" },
  away: { lines: "M14 42V8l21 7-21 8", point: "M29 31l10 10M39 31 29 41" },
  badge: { lines: `M8 9h32v30H8zM15 34c1-4 4-6 9-6s8 2 9 6`, point: ring(24, 20, 5) },
  clash: { lines: ring(18, 24, 12), point: ring(30, 24, 12) },
  clock: { lines: ring(24, 24, 17), point: "M24 14v10l7 5" },
  crown: { lines: "M7 38h34l2-22-11 8-8-15-8 15-11-8z", point: "M15 32h18" },
  ended: { lines: "M13 42V8h24v18H13", point: "M13 17h24M25 8v18" },
  file: { lines: "M12 6h16l9 9v27H12zM28 6v9h9", point: "M24.5 22v8M24.5 35v.1" },
  full: {
    lines: `${ring(16, 17, 6)}${ring(33, 18, 5)}M5 37c0-7 4-11 11-11s11 4 11 11M31 27c7-1 12 3 12 10`,
    point: "M19 43h12",
  },
  home: { lines: house, point: "M24 40V29" },
  kicked: { lines: `${ring(20, 15, 7)}M7 40c0-9 5-14 13-14 3 0 5 .6 7 2`, point: "M30 31l11 11M41 31 30 42" },
  lock: { lines: "M11 21h26v20H11zM17 21v-6a7 7 0 0 1 14 0v6", point: "M24 28v6" },
  missing: { lines: "M8 30v8a3 3 0 0 0 3 3h26a3 3 0 0 0 3-3v-8", point: "M24 7v22M15 20l9 9 9-9" },
  offline: {
    lines: "M6 19a26 26 0 0 1 36 0M13 26a16 16 0 0 1 22 0M19 33a7.5 7.5 0 0 1 10 0M24 40v.1",
    point: "M8 7l32 34",
  },
  off: { lines: "M15.5 13a15 15 0 1 0 17 0", point: "M24 6v17" },
  port: { lines: "M12 41V8h24v33M7 41h34", point: "M18 25h12" },
  rejoin: { lines: "M39 21A15.5 15.5 0 0 0 11 16M9 27a15.5 15.5 0 0 0 28 5", point: "M11 7v9h9M37 41v-9h-9" },
  relay: { lines: `${ring(10, 36, 5)}${ring(38, 36, 5)}M13 31l7-12M35 31l-7-12`, point: ring(24, 13, 6) },
  router: { lines: "M6 26h36v13H6zM14 26V10M34 26V10", point: "M14 32.5v.1M21 32.5v.1M28 32.5h7" },
  seats: { lines: `${ring(24, 15, 6)}M12 37c0-8 4-12 12-12s12 4 12 12`, point: "M38 14v10M33 19h10" },
  shield: { lines: "M24 5l16 6v12c0 9-6 16-16 20C14 39 8 32 8 23V11z", point: "M24 15v11M24 32v.1" },
  ticket: { lines: "M5 13h38v7a4 4 0 0 0 0 8v7H5v-7a4 4 0 0 0 0-8z", point: "M20 19.5l9 9M29 19.5l-9 9" },
  twins: { lines: "M5 10h24v17H5zM11 34h12", point: "M34 19h9v17H23" },
  unknown: { lines: `${ring(21, 21, 14)}M31 31l11 11`, point: "M17 18a4 4 0 1 1 6 3.4c-1.5.8-2 1.6-2 3M21 28.5v.1" },
  unreachable: { lines: house, point: "M18.5 27l11 11M29.5 27l-11 11" },
  versions: { lines: "M7 7h22v22H7zM35 19h6v22H19v-6", point: "M13 15h10M13 21h10M21.5 11l-7 14" },
  wall: { lines: "M5 24h21M18 15l9 9-9 9", point: "M37 7v34" },
  well: { lines: ring(24, 24, 17), point: "M16 25l6 6 11-13" },
  warning: { lines: "M24 7l19 33H5z", point: "M24 19v10M24 34.5v.1" },
} satisfies Record<string, Drawing>;

export type PictureName = keyof typeof DRAWINGS;

/** Each fault's picture. A new fault does not compile without one. */
export const FAULT_PICTURES: Record<FaultCode, PictureName> = {
  party_id_invalid: "ticket",
  invite_invalid: "ticket",
  name_invalid: "badge",
  party_name_invalid: "badge",
  party_unknown: "unknown",
  party_ended: "ended",
  party_full: "full",
  already_in_party: "full",
  not_in_party: "seats",
  busy: "clock",
  cancelled: "clock",
  party_dissolved: "ended",
  superseded: "twins",
  control_unreachable: "unknown",
  local_fallback: "home",
  control_away: "away",
  control_address: "away",
  control_untrusted: "lock",
  version_unsupported: "versions",
  control_malformed: "away",
  party_forgotten: "away",
  host_unreachable: "unreachable",
  offline: "offline",
  udp_blocked: "wall",
  nat_symmetric: "router",
  stun_silent: "router",
  no_relay: "relay",
  relay_away: "relay",
  port_mapping_refused: "router",
  peer_unreachable: "wall",
  not_admitted: "lock",
  not_a_member: "kicked",
  party_exists: "ticket",
  host_only: "crown",
  record_old: "clock",
  record_invalid: "warning",
  member_away: "kicked",
  too_many: "clock",
  record_refused: "shield",
  record_replayed: "shield",
  key_changed: "shield",
  lease_clash: "shield",
  signal_refused: "shield",
  dissolve_refused: "shield",
  leave_refused: "shield",
  views_differ: "shield",
  founding_refused: "shield",
  no_rights: "lock",
  no_tun_device: "adapter",
  adapter_busy: "adapter",
  adapter_failed: "adapter",
  address_clash: "clash",
  port_taken: "port",
  socket_failed: "port",
  seed_damaged: "file",
  settings_unreadable: "file",
  state_unusable: "file",
  engine_running: "twins",
  too_many_files: "file",
  system_unsupported: "missing",
  engine_not_running: "off",
  engine_untrusted: "shield",
  engine_version: "versions",
  not_allowed: "lock",
  party_of_another_user: "lock",
  request_invalid: "versions",
  internal: "warning",
};
