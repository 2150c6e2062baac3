/**
 * The window's one store. What the engine says replaces what was there; what the player does goes to the
 * engine as a command and shows when the engine says so.
 */

import { app, commands, findInvite, lookAtClipboard, type Answer } from "./bridge";
import { History } from "./history.svelte";
import { adopt } from "./look";
import { withOldRows } from "./news";
import { FAULT_PICTURES, type PictureName } from "./pictures";
import { messageOf, type Shared } from "./share";
import { faultAdvice, t, type Advice } from "./text";
import { endsForOthers } from "./verdict";
import type { AppSettings, AppState, EngineView, Fault, FaultCode, Found, Party, Status, Welcome, Wish } from "./types";

/** A command that is on its way. */
export type Doing = "create" | "join" | "leave" | "cancel";

/** What the window shows: the party (or the way into one), or a screen that one goes back from. */
export type Screen = "party" | "settings" | "diagnostics";

/** Before the shell has said what it remembers. */
const NOTHING_REMEMBERED: AppState = {
  settings: {
    player: null,
    theme: "system",
    language: null,
    notify: { joined: true, left: true, lost: true, dissolved: true },
    leaveOnQuit: false,
  },
  startAtLogin: null,
  recent: [],
  languages: [],
  trouble: null,
};

/** Why something was refused, as it is shown. */
export interface Refusal {
  advice: Advice;
  picture: PictureName;
  /** Of the fault, where it is one. */
  code: FaultCode | null;
}

/** An invite that was found. */
export type Invite = Extract<Found, { kind: "invite" }>;

/** How long "Copied" stays, milliseconds: long enough to be seen and heard. */
const COPIED_MS = 4000;

export class Session {
  view = $state.raw<EngineView>({ kind: "connecting" });
  doing = $state<Doing | null>(null);
  screen = $state<Screen>("party");
  /** Why the last command was refused, until the next one or until the player dismisses it. */
  refusal = $state.raw<Refusal | null>(null);
  player = $state("");
  /** What the app remembers. */
  app = $state.raw<AppState>(NOTHING_REMEMBERED);
  /** The invite was put on the clipboard without being asked for: the party has just been created. */
  copiedUnasked = $state(false);
  /** The panel with all that gets a friend in is open. */
  sharing = $state(false);
  /** The host was asked whether to end the party, and has not answered. */
  asking = $state(false);
  /** What was typed and not yet used: a refusal or a cancel gives it back to be corrected. */
  typedParty = $state<string | null>(null);
  typedInvite = $state("");
  /** What `typedInvite` holds. */
  found = $state.raw<Found>({ kind: "nothing" });
  /** It came from the clipboard, by the tray, and nobody has touched it since. */
  offered = $state(false);
  /** The form to join by is open. */
  joining = $state(false);
  /** An invite that lies on the clipboard. It is offered, never taken. */
  clipboard = $state.raw<Invite | null>(null);

  status: Status | null = $derived(this.view.kind === "here" ? this.view.status : null);
  party: Party | null = $derived(this.status?.party ?? null);

  /** Everybody's pings of the last minute. */
  readonly history = new History();

  /** What was put on the clipboard a moment ago: a part of the invite, or a member's address. */
  #copied = $state<string | null>(null);
  /** A party was created whose invite is not on the clipboard yet. */
  #uncopied = false;
  #copiedTimer: ReturnType<typeof setTimeout> | undefined;
  /** Invites that need no offer: of parties that the player has been in, or declined. */
  #known = new Set<string>();

  /** The engine's news. */
  see(view: EngineView): void {
    this.view = withOldRows(this.view, view);
    if (view.kind !== "here") return;
    const { engine, party } = view.status;
    this.player ||= engine.player;
    if (!party) {
      this.asking = false;
      this.sharing = false;
      this.history.forget();
      return;
    }
    this.clipboard = null;
    this.joining = false;
    if (party.id) this.#known.add(party.id);
    this.moveOn();
    void this.#copyUnasked();
  }

  /** Notes everybody's ping as it is now, also while there are no news: then it is as it was. */
  moveOn(): void {
    if (this.party) this.history.record(this.party.members, Date.now());
  }

  /** What the player chose in the tray and goes on with here. */
  wish(wish: Wish): void {
    this.open("party");
    if (wish.kind === "refused") this.#refuse(wish.fault);
    else if (wish.kind === "ask_to_leave") this.askToLeave();
    else if (wish.found.kind === "damaged") this.#refuse(wish.found.fault);
    else if (wish.found.kind === "nothing")
      this.refusal = {
        advice: { message: t("start.offer.nothing.message"), action: t("start.offer.nothing.action") },
        picture: "ticket",
        code: null,
      };
    else {
      this.clipboard = null;
      this.joining = true;
      this.typedInvite = wish.found.text;
      this.found = wish.found;
      this.offered = true;
    }
  }

  /** The shell's first answer. News that came before it is newer. */
  greet(welcome: Welcome): void {
    this.player ||= welcome.app.settings.player ?? "";
    if (this.view.kind === "connecting") this.see(welcome.view);
    this.player ||= welcome.suggestedName;
    this.remember(welcome.app);
    if (welcome.wish) this.wish(welcome.wish);
    void this.lookAround();
  }

  /** Looks whether an invite lies on the clipboard: when the window opens, and when the player comes back to it. */
  async lookAround(): Promise<void> {
    if (this.party || this.offered || this.typedInvite !== "") return;
    const found = await lookAtClipboard();
    const wanted = found.kind === "invite" && ![...this.#known].some((known) => found.text.includes(known));
    if (!this.party && !this.offered) this.clipboard = wanted ? found : null;
  }

  /** The player does not want the invite on the clipboard. */
  declineClipboard(): void {
    if (this.clipboard) this.#known.add(this.clipboard.text);
    this.clipboard = null;
  }

  /** What the shell remembers, as it is now. */
  remember(state: AppState): void {
    const news = state.trouble !== null && JSON.stringify(state.trouble) !== JSON.stringify(this.app.trouble);
    this.app = state;
    adopt(state.settings);
    // Said once: it may have been dismissed since.
    if (state.trouble && news) this.#refuse(state.trouble);
  }

  /** Changes how the app is set. It shows at once; the shell says so again, or why it could not be kept. */
  async setApp(change: Partial<AppSettings>): Promise<void> {
    const settings = { ...this.app.settings, ...change };
    this.remember({ ...this.app, settings, trouble: null });
    const fault = await app.change(settings);
    if (fault) this.#refuse(fault);
  }

  async startAtLogin(on: boolean): Promise<void> {
    const fault = await app.startAtLogin(on);
    if (fault) this.#refuse(fault);
    else this.app = { ...this.app, startAtLogin: on };
  }

  /** Back into a party of the list. */
  async joinAgain(key: string): Promise<void> {
    await this.#run("join", () => app.joinAgain(key));
  }

  async forget(key: string): Promise<void> {
    const fault = await app.forget(key);
    if (fault) this.#refuse(fault);
    else this.app = { ...this.app, recent: this.app.recent.filter((party) => party.key !== key) };
  }

  async create(party: string): Promise<void> {
    if (!(await this.#run("create", () => commands.create(party, this.player.trim())))) return;
    this.typedParty = null;
    this.#uncopied = true;
    await this.#copyUnasked();
  }

  /** What comes next after a create is always this. The answer may be here before the news that bring the invite. */
  async #copyUnasked(): Promise<void> {
    if (!this.#uncopied || this.party?.state !== "active" || !this.party.invite) return;
    this.#uncopied = false;
    if ((await commands.copy("invite")) !== null) return;
    this.#say("invite");
    this.copiedUnasked = true;
  }

  async join(text: string): Promise<void> {
    if (await this.#run("join", () => commands.join(text, this.player.trim()))) this.typeInvite("");
  }

  /** Back to the two ways in. */
  stopJoining(): void {
    this.joining = false;
    this.refusal = null;
    this.typeInvite("");
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

  open(screen: Screen): void {
    this.refusal = null;
    this.screen = screen;
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
  async share(what: Shared): Promise<void> {
    const { party } = this;
    if (!party?.id) return;
    const id = party.id;
    this.#copies(
      what,
      await (what === "message" ? commands.copyMessage(messageOf({ ...party, id })) : commands.copy(what)),
    );
  }

  /** Puts a member's or a game's address on the clipboard, for games that ask for one. */
  async copyAddress(address: string): Promise<void> {
    this.#copies(address, await commands.copyAddress(address));
  }

  /** Whether this was put on the clipboard a moment ago: a part of the invite, or an address. */
  isCopied(what: Shared | (string & {})): boolean {
    return this.#copied === what;
  }

  dismiss(): void {
    this.refusal = null;
  }

  #copies(what: string, fault: Answer): void {
    this.refusal = null;
    if (!fault) return this.#say(what);
    this.#copied = null;
    this.refusal = {
      advice: { message: t("party.copy.failed.message"), action: t("party.copy.failed.action") },
      picture: "warning",
      code: null,
    };
  }

  #say(copied: string): void {
    clearTimeout(this.#copiedTimer);
    this.#copied = copied;
    this.copiedUnasked = false;
    this.#copiedTimer = setTimeout(() => {
      this.#copied = null;
      this.copiedUnasked = false;
    }, COPIED_MS);
  }

  #refuse(fault: Fault): void {
    this.refusal = { advice: faultAdvice(fault), picture: FAULT_PICTURES[fault.code], code: fault.code };
  }

  /** Whether the engine did it. */
  async #run(doing: Doing, command: () => Promise<Answer>): Promise<boolean> {
    this.refusal = null;
    this.doing = doing;
    const fault = await command();
    // A create that was cancelled ends after the cancel began: only the newest command may clear the field.
    if (this.doing === doing) this.doing = null;
    if (fault && fault.code !== "cancelled") this.#refuse(fault);
    return fault === null;
  }
}
