/** The only place that talks to the shell. */

import { invoke } from "@tauri-apps/api/core";
import { listen } from "@tauri-apps/api/event";
import type { Session } from "./session.svelte";
import type { Shared } from "./share";
import type {
  AppSettings,
  AppState,
  ControlTest,
  EngineView,
  Fault,
  Found,
  LogPage,
  Report,
  Rules,
  SettingChange,
  SettingsReport,
  Welcome,
  Wish,
} from "./types";

/** Listens first and asks then, so that no change between the two is missed. */
export async function connect(session: Session): Promise<void> {
  await listen<EngineView>("engine", (event) => session.see(event.payload));
  await listen<AppState>("app", (event) => session.remember(event.payload));
  await listen<Wish>("wish", (event) => session.wish(event.payload));
  session.greet(await invoke<Welcome>("status"));
}

/** What came of a command: nothing to add, or why not. */
export type Answer = Fault | null;

async function ask(command: string, args?: Record<string, unknown>): Promise<Answer> {
  const result = await tell(command, args);
  return result.ok ? null : result.fault;
}

/** What a question brought. */
export type Result<Value> = { ok: true; value: Value } | { ok: false; fault: Fault };

async function tell<Value>(command: string, args?: Record<string, unknown>): Promise<Result<Value>> {
  try {
    return { ok: true, value: await invoke<Value>(command, args) };
  } catch (error) {
    return { ok: false, fault: isFault(error) ? error : { code: "internal", details: { reason: String(error) } } };
  }
}

function isFault(value: unknown): value is Fault {
  return typeof value === "object" && value !== null && typeof (value as Fault).code === "string";
}

export const commands = {
  create: (party: string, player: string) => ask("create", { party, player }),
  join: (text: string, player: string) => ask("join", { text, player }),
  leave: () => ask("leave"),
  cancel: () => ask("cancel"),
  /** Puts what gets a friend in on the clipboard. */
  copy: (what: Exclude<Shared, "message">) => ask("copy", { what }),
  /** Puts a sentence with the invite in it on the clipboard. */
  copyMessage: (message: string) => ask("copy_message", { message }),
  /** Lets friends reach something else on this computer, or carries other announces; what is not named stays. */
  rules: (change: Partial<Rules>) => ask("change_rules", { change }),
  /** Puts a member's or a game's address on the clipboard. */
  copyAddress: (address: string) => ask("copy_address", { address }),
};

/** What the shell itself keeps. */
export const app = {
  change: (settings: AppSettings) => ask("change_app", { settings }),
  startAtLogin: (on: boolean) => ask("start_at_login", { on }),
  /** Tray and notifications follow the page's language. */
  speak: (language: string) => ask("speak", { language }),
  joinAgain: (key: string) => ask("join_recent", { key }),
  forget: (key: string) => ask("forget_recent", { key }),
};

/** What the engine is asked by its settings and its diagnostics. */
export const engine = {
  settings: () => tell<SettingsReport>("engine_settings"),
  change: (change: SettingChange) => tell<SettingsReport>("change_setting", { change }),
  test: (address: string) => tell<ControlTest>("test_control", { address }),
  doctor: () => tell<Report>("doctor"),
  log: (from: number) => tell<LogPage>("log", { from }),
  /** Writes everything for who helps into one file, and says where it is. */
  exportAll: () => tell<string>("export"),
};

/** What a text holds, and whom joining by it would dial. */
export function findInvite(text: string): Promise<Found> {
  return invoke<Found>("find_invite", { text });
}

/** The invite on the clipboard, if there is one; nothing else of it comes here. */
export async function lookAtClipboard(): Promise<Found> {
  try {
    return (await invoke<Found | null>("look_at_clipboard")) ?? { kind: "nothing" };
  } catch {
    // A desktop may keep its clipboard to itself. Then nothing is offered.
    return { kind: "nothing" };
  }
}
