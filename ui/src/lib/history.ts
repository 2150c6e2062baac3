/** The pings of the last minute, row by row, and the line that they draw. */

import type { Member } from "./types";

/** How far back a line reaches, milliseconds. */
export const SPAN_MS = 60_000;
/** Pings that come faster are left out: a line has no room for more. */
const EVERY_MS = 500;
/** Below this all lines look alike, milliseconds: a millisecond more or less on a LAN is no news. */
const CALM_MS = 60;

/** A ping; none while there was no connection. */
export interface Sample {
  at: number;
  rtt: number | null;
}

export class History {
  #rows = new Map<string, Sample[]>();

  /** Takes note of everybody's ping, and forgets who is gone. */
  record(members: Member[], now: number): void {
    const rows = new Map<string, Sample[]>();
    for (const member of members) {
      if (member.self) continue;
      const samples = this.#rows.get(member.address) ?? [];
      const last = samples.at(-1);
      const rtt = member.state === "connected" || member.state === "degraded" ? member.rtt_ms : null;
      const broke = last !== undefined && (last.rtt === null) !== (rtt === null);
      if (!last || broke || now - last.at >= EVERY_MS) samples.push({ at: now, rtt });
      while (samples[0] && now - samples[0].at > SPAN_MS) samples.shift();
      rows.set(member.address, samples);
    }
    this.#rows = rows;
  }

  of(address: string): readonly Sample[] {
    return this.#rows.get(address) ?? [];
  }
}

/** The lowest and the highest ping; nothing where there are fewer than two. */
export function extent(samples: readonly Sample[]): { low: number; high: number } | null {
  const pings = samples.flatMap(({ rtt }) => (rtt === null ? [] : [rtt]));
  return pings.length < 2 ? null : { low: Math.min(...pings), high: Math.max(...pings) };
}

/**
 * The pings as an SVG path, the newest at the right edge; a gap where there was no connection. Lines of calm
 * connections share a scale, so that they can be compared at a glance.
 */
export function outline(samples: readonly Sample[], width: number, height: number): string {
  const newest = samples.at(-1)?.at ?? 0;
  const top = Math.max(CALM_MS, extent(samples)?.high ?? 0);
  let path = "";
  let drawing = false;
  for (const { at, rtt } of samples) {
    if (rtt === null) {
      drawing = false;
      continue;
    }
    const x = width - ((newest - at) / SPAN_MS) * width;
    const y = height - (rtt / top) * height;
    path += `${drawing ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    drawing = true;
  }
  return path;
}
