/** What an engine may say, and a stand-in for the shell, for tests. */

import { clearMocks, mockIPC } from "@tauri-apps/api/mocks";
import { cleanup } from "@testing-library/svelte";
import { tick } from "svelte";
import { afterEach } from "vitest";
import type { EngineView, Fault, Member, Party, Status } from "../lib/types";

export const ID = "K7QF-9M2X-RT4B-W8HD-5NC7";

export function member(name: string, over: Partial<Member> = {}): Member {
  return {
    name,
    address: "10.66.0.2",
    self: false,
    host: false,
    state: "connected",
    path: "direct",
    rtt_ms: 12.4,
    jitter_ms: 1,
    loss: 0,
    trouble: null,
    nat: "unknown",
    ...over,
  };
}

/** The own row. */
export function me(over: Partial<Member> = {}): Member {
  const alone = { path: null, rtt_ms: null, jitter_ms: null, loss: null };
  return member("Anna", { address: "10.66.0.1", self: true, ...alone, ...over });
}

export function party(members: Member[], over: Partial<Party> = {}): Party {
  const invite = `lanrage://join/${ID}`;
  return { name: "Friday night", id: ID, invite, state: "active", version: 1, members, ...over };
}

export function status(over: Partial<Status> = {}): Status {
  return {
    engine: { version: "0.1.0", state: "ready", player: "", control: { mode: "local", state: "idle" } },
    nat: { type: "unknown", mapped: null },
    party: null,
    games: [],
    conditions: [],
    ...over,
  };
}

export function here(over: Partial<Status> = {}): EngineView {
  return { kind: "here", status: status(over) };
}

/** A command that the page gave, with its arguments. */
export interface Given {
  command: string;
  args: unknown;
}

/**
 * Answers commands as `answers` says (with nothing by default) and records them; undone after each test. A look at
 * a text is no command and not recorded; it finds nothing by default.
 */
export function shell(answers: Record<string, () => unknown> = {}): Given[] {
  const given: Given[] = [];
  mockIPC(
    (command, args) => {
      if (command === "find_invite") return answers[command]?.() ?? { kind: "nothing" };
      given.push({ command, args });
      return answers[command]?.();
    },
    { shouldMockEvents: true },
  );
  return given;
}

/** How a command refuses. */
export function refusing(fault: Fault): () => Promise<never> {
  return () => Promise.reject(fault);
}

afterEach(async () => {
  cleanup();
  await tick();
  clearMocks();
  localStorage.clear();
});
