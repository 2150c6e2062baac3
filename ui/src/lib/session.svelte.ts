/**
 * The window's one store. What the engine says replaces what was there; what the player does goes to the
 * engine as a command and shows when the engine says so.
 */

import { commands, type Answer } from "./bridge";
import { faultAdvice, t, type Advice } from "./text";
import type { EngineView, Party, Status, Welcome } from "./types";

/** A command that is on its way. */
export type Doing = "create" | "join" | "leave" | "cancel";

/** Where the player's name is kept between visits. */
const PLAYER = "lanrage.player";
/** How long "Copied" stays, milliseconds: long enough to be seen and heard. */
const COPIED_MS = 4000;

export class Session {
  view = $state.raw<EngineView>({ kind: "connecting" });
  doing = $state<Doing | null>(null);
  /** Why the last command was refused, until the next one or until the player dismisses it. */
  refusal = $state.raw<Advice | null>(null);
  player = $state(localStorage.getItem(PLAYER) ?? "");
  copied = $state(false);
  /** What was typed and not yet used: a refusal or a cancel gives it back to be corrected. */
  typedParty = $state<string | null>(null);
  typedInvite = $state("");

  status: Status | null = $derived(this.view.kind === "here" ? this.view.status : null);
  party: Party | null = $derived(this.status?.party ?? null);

  #copiedTimer: ReturnType<typeof setTimeout> | undefined;

  /** The engine's news. */
  see(view: EngineView): void {
    this.view = view;
    if (this.player === "" && view.kind === "here") this.player = view.status.engine.player;
  }

  /** The shell's first answer. News that came before it is newer. */
  greet(welcome: Welcome): void {
    if (this.view.kind === "connecting") this.see(welcome.view);
    if (this.player === "") this.player = welcome.suggestedName;
  }

  async create(party: string): Promise<void> {
    this.#remember();
    if (await this.#run("create", () => commands.create(party, this.player.trim()))) this.typedParty = null;
  }

  async join(text: string): Promise<void> {
    this.#remember();
    if (await this.#run("join", () => commands.join(text, this.player.trim()))) this.typedInvite = "";
  }

  async leave(): Promise<void> {
    await this.#run("leave", commands.leave);
  }

  async cancel(): Promise<void> {
    await this.#run("cancel", commands.cancel);
  }

  /** Puts what friends need on the clipboard and says so for a moment. */
  async copy(): Promise<void> {
    this.refusal = null;
    if (await commands.copy()) {
      this.refusal = { message: t("party.copy.failed.message"), action: t("party.copy.failed.action") };
      return;
    }
    this.copied = true;
    clearTimeout(this.#copiedTimer);
    this.#copiedTimer = setTimeout(() => (this.copied = false), COPIED_MS);
  }

  dismiss(): void {
    this.refusal = null;
  }

  #remember(): void {
    localStorage.setItem(PLAYER, this.player.trim());
  }

  /** Whether the engine did it. */
  async #run(doing: Doing, command: () => Promise<Answer>): Promise<boolean> {
    this.refusal = null;
    this.doing = doing;
    const fault = await command();
    // A create that was cancelled ends after the cancel began: only the newest command may clear the field.
    if (this.doing === doing) this.doing = null;
    if (fault && fault.code !== "cancelled") this.refusal = faultAdvice(fault);
    return fault === null;
  }
}
