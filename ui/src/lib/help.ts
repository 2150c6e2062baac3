/** Where in the window something can be done about a fault. */

import type { Screen } from "./session.svelte";
import type { FaultCode } from "./types";

/** Faults that a setting mends. */
const BY_SETTINGS: ReadonlySet<FaultCode> = new Set<FaultCode>([
  "control_address",
  "control_untrusted",
  "host_unreachable",
  "local_fallback",
  "no_relay",
  "port_taken",
  "stun_silent",
]);

/** Faults of which the diagnosis tells more. */
const BY_DIAGNOSIS: ReadonlySet<FaultCode> = new Set<FaultCode>([
  "nat_symmetric",
  "peer_unreachable",
  "port_mapping_refused",
  "relay_away",
  "udp_blocked",
]);

/** The screen that helps with a fault, if one does. */
export function helpFor(code: FaultCode): Exclude<Screen, "party"> | null {
  if (BY_SETTINGS.has(code)) return "settings";
  return BY_DIAGNOSIS.has(code) ? "diagnostics" : null;
}
