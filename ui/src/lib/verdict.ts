/** How the party is, in one line of words. */

import { names, t } from "./text";
import type { Member, Party } from "./types";

/** Loss above which a row mentions it, as a share. */
export const BAD_LOSS = 0.02;
/** Jitter above which a row mentions it, milliseconds. */
export const BAD_JITTER_MS = 30;

/** Members who are in the party now: whoever left keeps a row for a while but does not count. */
export function present(party: Party): Member[] {
  return party.members.filter((member) => member.self || member.state !== "disconnected");
}

/** Whether the own leave ends the party for somebody else: a host's does. */
export function endsForOthers(party: Party): boolean {
  return present(party).length > 1 && party.members.some((member) => member.self && member.host);
}

export function verdict(party: Party): string {
  const peers = present(party).filter((member) => !member.self);
  if (peers.length === 0) return t("verdict.alone");
  const parts = [standing(party)];
  const pings = peers.flatMap((peer) => (isUp(peer) && peer.rtt_ms !== null ? [peer.rtt_ms] : []));
  if (pings.length > 0) {
    const key = pings.length === 1 ? "verdict.ping" : "verdict.worst_ping";
    parts.push(t(key, { ms: milliseconds(Math.max(...pings)) }));
  }
  return parts.join(" ");
}

/** The verdict without its numbers, which change all the time: to be read aloud when it changes. */
export function standing(party: Party): string {
  const members = present(party);
  const peers = members.filter((member) => !member.self);
  if (peers.length === 0) return t("verdict.alone");
  return `${t("verdict.players", { count: members.length })}, ${connection(peers)}.`;
}

/** A round-trip time as players write it: whole milliseconds, "<1" below one. */
export function milliseconds(rtt: number): string {
  return rtt < 1 ? "<1" : String(Math.round(rtt));
}

/** Whether packets get to the member. */
export function isUp(member: Member): boolean {
  return member.state === "connected" || member.state === "degraded";
}

function connection(peers: Member[]): string {
  const gone = peers.filter((peer) => peer.state === "lost" || peer.state === "failed");
  if (gone.length > 0) return t("verdict.gone", { names: few(gone) });
  const connecting = peers.filter((peer) => peer.state === "connecting");
  if (connecting.length > 0) return t("verdict.connecting", { names: few(connecting) });
  const weak = peers.filter((peer) => peer.state === "degraded");
  if (weak.length > 0) return t("verdict.weak", { names: few(weak) });
  const relayed = peers.filter((peer) => peer.path === "relayed").length;
  if (relayed === peers.length) return t("verdict.all_relayed", { count: relayed });
  if (relayed > 0) return t("verdict.some_relayed", { count: relayed });
  if (peers.every((peer) => peer.path === "lan")) return t("verdict.all_lan", { count: peers.length });
  return t("verdict.all_direct", { count: peers.length });
}

function few(members: Member[]): string {
  if (members.length > 3) return t("verdict.others", { count: members.length });
  return names(members.map((member) => member.name || t("member.unnamed")));
}
