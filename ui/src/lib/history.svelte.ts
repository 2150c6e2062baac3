/** The pings of the last minute, row by row, and the line that they draw. */

import type { Member } from "./types";

/** How far back a line reaches, milliseconds. */
export const SPAN_MS = 60_000;
/**
 * A line moves on this often, milliseconds, for all rows at once. Each time the window is painted anew, which without
 * a graphics card takes as long as everything else that a party costs together.
 */
export const STEP_MS = 3_000;
/** Steps of a full line. */
const STEPS = SPAN_MS / STEP_MS;
/** Below this all lines look alike, milliseconds: a millisecond more or less on a LAN is no news. */
const CALM_MS = 60;

/** The best and the worst ping of a step; none while there was no connection. */
export type Step = { low: number; high: number } | null;

/** What is under way. */
interface Row {
  step: Step;
  /** The ping as it was told last, and holds until the next news. */
  rtt: number | null;
}

export class History {
  #rows = new Map<string, Row>();
  /** Complete steps, the newest last. */
  #lines = $state.raw(new Map<string, readonly Step[]>());
  #step = 0;

  /** Takes note of everybody's ping, and forgets who is gone. */
  record(members: Member[], now: number): void {
    const step = Math.floor(now / STEP_MS);
    const passed = step - this.#step;
    this.#step = step;
    // A clock that was set back, or a long sleep: nothing is known of the time between.
    if (passed < 0 || passed > STEPS) this.#rows.clear();

    const peers = members.filter((member) => !member.self);
    if (passed !== 0) {
      const lines = peers.map(({ address }) => [address, this.#moved(address, passed)] as const);
      this.#lines = new Map(lines);
    }
    const rows = peers.map((member) => {
      const rtt = member.state === "connected" || member.state === "degraded" ? member.rtt_ms : null;
      const before = passed === 0 ? (this.#rows.get(member.address)?.step ?? null) : null;
      return [member.address, { step: withPing(before, rtt), rtt }] as const;
    });
    this.#rows = new Map(rows);
  }

  /** Another party may deal the same addresses. */
  forget(): void {
    this.#rows.clear();
    this.#lines = new Map();
  }

  /** The steps of a minute that are complete. */
  of(address: string): readonly Step[] {
    return this.#lines.get(address) ?? [];
  }

  /** The best and the worst ping of the last minute. */
  extent(address: string): Step {
    const steps = [...this.of(address), this.#rows.get(address)?.step ?? null];
    return steps.reduce((all, step) => (step ? withPing(withPing(all, step.low), step.high) : all), null);
  }

  #moved(address: string, passed: number): readonly Step[] {
    const row = this.#rows.get(address);
    if (!row) return [];
    const between = Array.from({ length: passed - 1 }, () => withPing(null, row.rtt));
    return [...this.of(address), row.step, ...between].slice(-STEPS);
  }
}

function withPing(step: Step, rtt: number | null): Step {
  if (rtt === null) return step;
  return { low: Math.min(step?.low ?? rtt, rtt), high: Math.max(step?.high ?? rtt, rtt) };
}

/**
 * The worst ping of each step as an SVG path, the newest at the right edge; a gap where there was no connection. Lines
 * of calm connections share a scale, so that they can be compared at a glance.
 */
export function outline(steps: readonly Step[], width: number, height: number): string {
  const top = Math.max(CALM_MS, ...steps.map((step) => step?.high ?? 0));
  let path = "";
  let drawing = false;
  steps.forEach((step, index) => {
    if (step) {
      const x = width - ((steps.length - 1 - index) / (STEPS - 1)) * width;
      // Whole pixels: the line of a calm connection is the same step after step, and is not painted again.
      const y = Math.round(height * (1 - step.high / top));
      path += `${drawing ? "L" : "M"}${x.toFixed(1)} ${y}`;
    }
    drawing = step !== null;
  });
  return path;
}
