/**
 * The window's one store. What the engine says replaces what was there; what the player does goes to the
 * engine as a command and shows when the engine says so.
 */

import { commands, findInvite, type Answer } from "./bridge";
import { faultAdvice, t, type Advice } from "./text";
import { endsForOthers } from "./verdict";
import type { EngineView, Found, Party, Status, Welcome, Wish } from "./types";

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
  /** What was put on the clipboard a moment ago: the invite, or a member's address. */
  copied = $state<"invite" | { address: string } | null>(null);
  /** The host was asked whether to end the party, and has not answered. */
  asking = $state(false);
  /** What was typed and not yet used: a refusal or a cancel gives it back to be corrected. */
  typedParty = $state<string | null>(null);
  typedInvite = $state("");
  /** What `typedInvite` holds. */
  found = $state.raw<Found>({ kind: "nothing" });
  /** It came from the clipboard, by the tray, and nobody has touched it since. */
  offered = $state(false);

  status: Status | null = $derived(this.view.kind === "here" ? this.view.status : null);
  party: Party | null = $derived(this.status?.party ?? null);

  #copiedTimer: ReturnType<typeof setTimeout> | undefined;

  /** The engine's news. */
  see(view: EngineView): void {
    this.view = view;
    if (view.kind !== "here") return;
    if (this.player === "") this.player = view.status.engine.player;
    if (!view.status.party) this.asking = false;
  }

  /** What the player chose in the tray and goes on with here. */
  wish(wish: Wish): void {
    this.refusal = null;
    if (wish.kind === "refused") this.refusal = faultAdvice(wish.fault);
    else if (wish.kind === "ask_to_leave") this.askToLeave();
    else if (wish.found.kind === "damaged") this.refusal = faultAdvice(wish.found.fault);
    else if (wish.found.kind === "nothing")
      this.refusal = { message: t("start.offer.nothing.message"), action: t("start.offer.nothing.action") };
    else {
      this.typedInvite = wish.found.text;
      this.found = wish.found;
      this.offered = true;
    }
  }

  /** The shell's first answer. News that came before it is newer. */
  greet(welcome: Welcome): void {
    if (this.view.kind === "connecting") this.see(welcome.view);
    if (this.player === "") this.player = welcome.suggestedName;
    if (welcome.wish) this.wish(welcome.wish);
  }

  async create(party: string): Promise<void> {
    this.#remember();
    if (await this.#run("create", () => commands.create(party, this.player.trim()))) this.typedParty = null;
  }

  async join(text: string): Promise<void> {
    this.#remember();
    if (await this.#run("join", () => commands.join(text, this.player.trim()))) this.typeInvite("");
  }

  /** What the player types or pastes to join by. It is looked at, and joins nothing. */
  typeInvite(text: string): void {
    this.typedInvite = text;
    this.offered = false;
    if (text.trim() === "") {
      this.found = { kind: "nothing" };
      return;
    }
    void findInvite(text).then((found) => {
      // An answer about an older text is no longer wanted.
      if (this.typedInvite === text) this.found = found;
    });
  }

  /** Leaves; a host who would end the party for others is asked first. */
  askToLeave(): void {
    if (this.party && endsForOthers(this.party)) this.asking = true;
    else void this.leave();
  }

  async leave(): Promise<void> {
    this.asking = false;
    await this.#run("leave", commands.leave);
  }

  async cancel(): Promise<void> {
    await this.#run("cancel", commands.cancel);
  }

  /** Puts what friends need on the clipboard and says so for a moment. */
  async copy(): Promise<void> {
    this.#copied("invite", await commands.copy());
  }

  /** Puts a member's address on the clipboard, for games that ask for one. */
  async copyAddress(address: string): Promise<void> {
    this.#copied({ address }, await commands.copyAddress(address));
  }

  dismiss(): void {
    this.refusal = null;
  }

  #copied(what: NonNullable<typeof this.copied>, fault: Answer): void {
    this.refusal = null;
    clearTimeout(this.#copiedTimer);
    this.copied = fault ? null : what;
    if (fault) this.refusal = { message: t("party.copy.failed.message"), action: t("party.copy.failed.action") };
    else this.#copiedTimer = setTimeout(() => (this.copied = null), COPIED_MS);
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
