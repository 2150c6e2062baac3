/** What an engine may say, and a stand-in for the shell, for tests. */

import { clearMocks, mockIPC } from "@tauri-apps/api/mocks";
import { cleanup, configure } from "@testing-library/svelte";
import { tick } from "svelte";
import { afterEach } from "vitest";
import { speak } from "../lib/language.svelte";
import type {
  Announce,
  AppState,
  EngineView,
  Fault,
  Heard,
  Member,
  Party,
  Reach,
  Status,
  Welcome,
} from "../lib/types";

// A busy machine is no failure.
configure({ asyncUtilTimeout: 10_000 });

export const ID = "K7QF-9M2X-RT4B-W8HD-5NC7";

export function member(name: string, over: Partial<Member> = {}): Member {
  return {
    name,
    address: "10.66.0.2",
    self: false,
    host: false,
    state: "connected",
    path: "direct",
    relay: null,
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
  const rules = { share: "nothing", multicast: true, dhcp: false, mdns: false, ssdp: false, netbios: false } as const;
  const lobby = { announces: [], heard: [] };
  return { name: "Friday night", id: ID, invite, state: "active", version: 1, members, rules, lobby, ...over };
}

/** An announce of a program here, and what became of it with these members. */
export function announce(members: Reach[], over: Partial<Announce> = {}): Announce {
  const to = { destination: "255.255.255.255", to_port: 6112 };
  return { port: 6112, ...to, interface: null, sent: members.length, delivered: 0, members, ...over };
}

/** How far an announce came with a member; its address follows from its name. */
export function reach(name: string, over: Partial<Reach> = {}): Reach {
  return { name, address: `10.66.1.${name.length}.${name}`, reach: "delivered", listens: "yes", answered: false, ...over };
}

/** An announce that came from a member. */
export function heardOf(name: string, over: Partial<Heard> = {}): Heard {
  const to = { destination: "255.255.255.255", to_port: 6112 };
  return { name, address: `10.66.1.${name.length}.${name}`, port: 6112, ...to, listens: "yes", ...over };
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

/** What a new app remembers. */
export function remembered(over: Partial<AppState> = {}): AppState {
  return {
    settings: {
      player: null,
      theme: "system",
      language: null,
      notify: { joined: true, left: true, lost: true, dissolved: true },
      leaveOnQuit: false,
    },
    startAtLogin: false,
    recent: [],
    languages: ["de", "en"],
    trouble: null,
    ...over,
  };
}

/** The shell's first answer. */
export function welcome(over: Partial<Welcome> = {}): Welcome {
  return { view: here(), suggestedName: "Tom", app: remembered(), wish: null, ...over };
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
      if (command === "find_invite" || command === "look_at_clipboard")
        return answers[command]?.() ?? { kind: "nothing" };
      // The page's language, told whenever it is set.
      if (command === "speak") return answers[command]?.();
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
  speak("en");
});
