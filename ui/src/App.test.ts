import { fireEvent, render, screen, waitFor, within } from "@testing-library/svelte";
import { emit } from "@tauri-apps/api/event";
import { tick } from "svelte";
import { expect, test, vi } from "vitest";
import App from "./App.svelte";
import { connect } from "./lib/bridge";
import { STEP_MS } from "./lib/history.svelte";
import { speak } from "./lib/language.svelte";
import { recall } from "./lib/look";
import { Session } from "./lib/session.svelte";
import type { EngineView, Found } from "./lib/types";
import { here, ID, me, member, party, refusing, remembered, shell, welcome } from "./test/engine";

function show(view: EngineView): Session {
  const session = new Session();
  session.see(view);
  render(App, { session });
  return session;
}

const field = (label: string) => screen.getByLabelText<HTMLInputElement>(label);
const button = (name: string | RegExp) => screen.getByRole<HTMLButtonElement>("button", { name });

test("the page asks once and then follows the engine's events", async () => {
  shell({ status: () => welcome({ suggestedName: "Anna" }) });
  const session = new Session();
  render(App, { session });
  expect(screen.getByText(/Looking for the LANrage engine/)).toBeTruthy();
  await connect(session);
  await waitFor(() => expect(field("Your name").value).toBe("Anna"));
  await emit("engine", here({ party: party([me()]) }));
  await waitFor(() => expect(screen.getByRole("heading", { name: "Friday night" })).toBeTruthy());
});

test("an engine that is not running is a sentence and what helps, and it comes back by itself", async () => {
  const session = show({ kind: "away", fault: { code: "engine_not_running", details: { path: "/run/x" } } });
  expect(screen.getByRole("heading").textContent).toBe("The LANrage engine is not running.");
  expect(screen.getByText(/Start the service/)).toBeTruthy();
  session.see(here());
  await tick();
  expect(button("Create a party")).toBeTruthy();
});

test("an engine of another version says both versions", () => {
  show({ kind: "away", fault: { code: "engine_version", details: { theirs: "2", ours: "1" } } });
  expect(screen.getByRole("heading").textContent).toContain("(2 and 1)");
});

test("the party's name follows the player's until it is typed, and fits", async () => {
  shell();
  show(here());
  await fireEvent.input(field("Your name"), { target: { value: "Zoë" } });
  expect(screen.getByText(/It will be called “Zoë's party”/)).toBeTruthy();
  await fireEvent.click(button("Change"));
  expect(field("Party name").value).toBe("Zoë's party");
  await fireEvent.input(field("Your name"), { target: { value: "x".repeat(40) } });
  expect([...field("Party name").value].length).toBe(40);
  await fireEvent.input(field("Party name"), { target: { value: "Quake" } });
  await fireEvent.input(field("Your name"), { target: { value: "Tom" } });
  expect(field("Party name").value).toBe("Quake");
});

test("create sends both names and shows its steps with a way out", async () => {
  const given = shell({ create: () => new Promise(() => {}), cancel: () => undefined });
  const session = show(here());
  await fireEvent.input(field("Your name"), { target: { value: " Zoë " } });
  await fireEvent.click(button("Create a party"));
  expect(given).toContainEqual({ command: "create", args: { party: "Zoë's party", player: "Zoë" } });

  session.see(here({ party: party([], { state: "creating" }) }));
  await tick();
  expect(screen.getByRole("heading", { name: "Creating Friday night" })).toBeTruthy();
  expect(screen.getByText("Opening the party on this computer").getAttribute("aria-current")).toBe("step");
  await fireEvent.click(button("Cancel"));
  expect(given.at(-1)?.command).toBe("cancel");
});

/** Opens the form to join by. */
async function openJoin(): Promise<void> {
  await fireEvent.click(button("Join with an ID"));
}

test("join sends what was pasted as it is", async () => {
  const given = shell();
  show(here());
  await openJoin();
  await fireEvent.input(field("Your name"), { target: { value: "Tom" } });
  await fireEvent.input(field("Party ID or invite"), { target: { value: `play with us: ${ID}` } });
  await fireEvent.click(button("Join"));
  expect(given).toContainEqual({ command: "join", args: { text: `play with us: ${ID}`, player: "Tom" } });
});

test("what is missing is said and gets the cursor, and nothing is sent", async () => {
  const given = shell();
  show(here());
  await fireEvent.click(button("Create a party"));
  expect(document.activeElement).toBe(field("Your name"));
  expect(field("Your name").getAttribute("aria-invalid")).toBe("true");
  await fireEvent.input(field("Your name"), { target: { value: "Tom" } });
  await openJoin();
  await fireEvent.click(button("Join"));
  expect(document.activeElement).toBe(field("Party ID or invite"));
  expect(given).toEqual([]);
});

test("a refusal is an alert with its action and can be dismissed; a cancel is none", async () => {
  let fault = refusing({ code: "party_full" });
  shell({ join: () => fault() });
  const session = show(here());
  session.player = "Tom";
  await session.join(ID);
  const alert = await screen.findByRole("alert");
  expect(alert.textContent).toContain("The party is full.");
  expect(alert.textContent).toContain("Ask somebody to leave");
  await fireEvent.click(within(alert).getByRole("button", { name: "Dismiss" }));
  expect(screen.queryByRole("alert")).toBeNull();

  fault = refusing({ code: "cancelled" });
  await session.join(ID);
  await tick();
  expect(screen.queryByRole("alert")).toBeNull();
});

test("what was typed comes back after a refusal, to be corrected", async () => {
  shell({ join: refusing({ code: "party_id_invalid", details: { reason: "a symbol is wrong" } }) });
  const session = show(here());
  session.player = "Tom";
  await tick();
  await openJoin();
  await fireEvent.input(field("Party ID or invite"), { target: { value: "K7QF-9M2X" } });
  await fireEvent.click(button("Join"));
  expect((await screen.findByRole("alert")).textContent).toContain("a symbol is wrong");
  expect(field("Party ID or invite").value).toBe("K7QF-9M2X");
});

test("a shell that fails in an unknown way is a fault as well", async () => {
  shell({ join: () => Promise.reject("boom") });
  const session = show(here());
  await session.join(ID);
  expect((await screen.findByRole("alert")).textContent).toContain("boom");
});

test("conditions appear and clear by themselves, the same code for two members twice", async () => {
  const session = show(
    here({
      conditions: [
        { code: "key_changed", details: { member: "Tom" } },
        { code: "key_changed", details: { member: "Zoë" } },
      ],
    }),
  );
  expect(screen.getByText(/The key of Tom/)).toBeTruthy();
  expect(screen.getByText(/The key of Zoë/)).toBeTruthy();
  session.see(here());
  await tick();
  expect(screen.queryByText(/The key of/)).toBeNull();
});

test("where a setting or the diagnosis helps, the way there is one click", async () => {
  shell({ engine_settings: refusing({ code: "internal" }) });
  show(here({ party: party([me()]), conditions: [{ code: "host_unreachable" }, { code: "offline" }] }));
  const [first, second] = document.querySelectorAll<HTMLElement>(".condition .words");
  expect(second?.querySelector("button")).toBeNull();
  await fireEvent.click(within(first!).getByRole("button", { name: "Settings" }));
  expect(screen.getByRole("heading", { name: "Settings" })).toBeTruthy();
});

test("a member's row says name, host, address, path and ping in words", () => {
  show(
    here({
      party: party([
        member("Anna", { address: "10.66.0.1", host: true }),
        me({ name: "Tom", address: "10.66.0.2" }),
        member("Kim", { address: "10.66.0.3", path: "relayed", rtt_ms: 38.4 }),
        member("Zoë", { address: "10.66.0.4", state: "connecting", path: null, rtt_ms: null }),
        member("Ola", { address: "10.66.0.5", state: "degraded", loss: 0.08, jitter_ms: 44, rtt_ms: 141 }),
        member("Ben", { address: "10.66.0.6", state: "lost", path: null }),
        member("", { address: "10.66.0.7", state: "failed", path: null, rtt_ms: null, trouble: "no_relay" }),
      ]),
    }),
  );
  const list = screen.getByRole("list", { name: "Members" });
  const rows = within(list).getAllByRole("listitem").map((row) => row.textContent?.replace(/\s+/g, " ").trim());
  expect(rows).toEqual([
    "Anna (host) 10.66.0.1 · direct ping 12 ms",
    "Tom you 10.66.0.2",
    "Kim 10.66.0.3 · relayed ping 38 ms",
    "Zoë 10.66.0.4 · connecting…",
    "Ola 10.66.0.5 · direct, weak · 8 % lost, jitter 44 ms ping 141 ms",
    "Ben 10.66.0.6 · lost",
    "new player 10.66.0.7 · can't connect · needs a relay",
  ]);
});

/** The rows that change while `news` comes in, by their names. */
async function rowsTouched(news: () => void): Promise<Set<string>> {
  // Not by its role: with 64 rows that takes jsdom seconds.
  const list = document.querySelector("ul")!;
  const touched = new Set<string>();
  const note = (changes: MutationRecord[]) => {
    for (const { target } of changes) {
      const element = target instanceof Element ? target : target.parentElement;
      touched.add(element?.closest("li")?.querySelector(".name")?.textContent ?? "the list");
    }
  };
  const observer = new MutationObserver(note);
  observer.observe(list, { subtree: true, childList: true, characterData: true, attributes: true });
  news();
  await tick();
  note(observer.takeRecords());
  observer.disconnect();
  return touched;
}

test("in a party of 64 one member's news changes that member's row only", async () => {
  vi.useFakeTimers({ toFake: ["Date"], now: 10 * STEP_MS });
  const peers = Array.from({ length: 63 }, (_, n) => member(`P${n + 2}`, { address: `10.66.0.${n + 2}` }));
  const session = show(here({ party: party([me(), ...peers]) }));
  // The engine tells everything anew each time.
  const news = (rtt: number) =>
    session.see(
      structuredClone(
        here({ party: party([me(), ...peers.map((peer, n) => (n === 40 ? { ...peer, rtt_ms: rtt } : peer))]) }),
      ),
    );
  const touched = async (rtt: number) => [...(await rowsTouched(() => news(rtt)))];
  for (const rtt of [14, 99, 12]) expect(await touched(rtt), `${rtt} ms`).toEqual(["P42"]);
  const rows = document.querySelectorAll("li");
  expect(rows[41]?.textContent).toContain("12 ms");
  expect(await touched(12), "nothing new").toEqual([]);
  vi.advanceTimersByTime(STEP_MS);
  expect((await touched(12)).length, "all lines move on together").toBe(63);
  vi.advanceTimersByTime(STEP_MS);
  await touched(12);
  expect(rows[41]?.querySelector(".pings path.pings")?.getAttribute("d")).toMatch(/^M[^L]*L[^L]*$/);
  vi.useRealTimers();
});

test("copy puts the invite on the clipboard and says so, or says that it could not", async () => {
  let broken = false;
  const given = shell({ copy: () => (broken ? Promise.reject({ code: "internal" }) : undefined) });
  const session = show(here({ party: party([me()]) }));
  expect(screen.getByText(ID)).toBeTruthy();
  await fireEvent.click(button(/Copy the invite/));
  expect(given.at(-1)).toEqual({ command: "copy", args: { what: "invite" } });
  expect(await screen.findByText("Copied. Paste it to your friends.")).toBeTruthy();
  broken = true;
  await session.share("invite");
  expect((await screen.findByRole("alert")).textContent).toContain("The clipboard can't be reached.");
});

test("after a create the invite is on the clipboard, and that is said", async () => {
  const given = shell();
  const session = show(here());
  session.player = "Anna";
  await session.create("Friday night");
  expect(given.map(({ command }) => command)).toEqual(["create"]);
  // Its news are late, and those on the way say nothing of an invite.
  session.see(here({ party: { ...party([me({ host: true })]), state: "creating", invite: null } }));
  expect(given).toHaveLength(1);
  session.see(here({ party: party([me({ host: true })]) }));
  expect(await screen.findByText(/The invite is on your clipboard/)).toBeTruthy();
  expect(given.map(({ command }) => command)).toEqual(["create", "copy"]);
});

test("all that gets a friend in can be shared: ID, link, picture and a sentence", async () => {
  const given = shell();
  const link = `lanrage://join/${ID}?via=192.168.1.5:51820`;
  show(here({ party: party([me()], { invite: link }) }));
  const share = button("Share");
  expect(share.getAttribute("aria-expanded")).toBe("false");
  await fireEvent.click(share);
  const panel = screen.getByRole("region", { name: "Invite your friends" });
  const message = `Come and play! Open LANrage and join “Friday night” with this: ${link}`;
  expect(panel.textContent).toContain(message);
  expect(within(panel).getByRole("img", { name: "QR code of the link" })).toBeTruthy();
  for (const [name, args] of [
    ["Copy the message", { command: "copy_message", args: { message } }],
    ["Copy the link", { command: "copy", args: { what: "link" } }],
    ["Copy the party ID", { command: "copy", args: { what: "id" } }],
  ] as const) {
    await fireEvent.click(within(panel).getByRole("button", { name }));
    expect(given.at(-1)).toEqual(args);
    await waitFor(() => expect(within(panel).getByRole("button", { name: `Copied: ${name}` })).toBeTruthy());
  }
  await fireEvent.click(share);
  expect(screen.queryByRole("region")).toBeNull();
});

test("a member's details are one click away, its address with a copy", async () => {
  const pair = {
    by: "relay",
    relay: "192.0.2.1:5000",
    remote: "198.51.100.7:4000",
    kind: "reflexive",
    state: "chosen",
    reason: null,
    probes: 3,
    answers: 3,
    rtt_ms: 38,
  };
  const given = shell({ doctor: () => ({ peers: [{ address: "10.66.0.2", expected: "relayed", pairs: [pair] }] }) });
  const weak = member("Tom", { state: "degraded", path: "relayed", trouble: "loss", loss: 0.08, nat: "symmetric" });
  show(here({ party: party([me(), weak]) }));
  const row = screen.getByRole("button", { name: /^Tom/ });
  await fireEvent.click(row);
  expect(row.getAttribute("aria-expanded")).toBe("true");
  for (const text of [/Packets get lost/, /Through a relay/, /jitter 1 ms, 8 % lost/, /symmetric: hard to reach/]) {
    expect(screen.getByText(text)).toBeTruthy();
  }
  const copy = button("Copy Tom's address 10.66.0.2");
  await fireEvent.click(copy);
  expect(given).toEqual([{ command: "copy_address", args: { address: "10.66.0.2" } }]);
  await waitFor(() => expect(copy.textContent).toContain("Copied"));
  await fireEvent.click(button("Show the ways that were tried"));
  expect(await screen.findByText("by our relay, its address from outside 198.51.100.7:4000: in use, 38 ms")).toBeTruthy();
  await fireEvent.click(row);
  expect(screen.queryByText(/Packets get lost/)).toBeNull();
});

const INVITE: Found = { kind: "invite", text: `lanrage://join/${ID}`, server: null, via: ["192.168.1.5:51820"] };

test("a pasted invite says whom it dials before anything is joined", async () => {
  const given = shell({ find_invite: () => INVITE });
  const session = show(here());
  session.player = "Tom";
  await openJoin();
  await fireEvent.input(field("Party ID or invite"), { target: { value: `hi! lanrage://join/${ID}` } });
  expect(await screen.findByText("Joining connects to 192.168.1.5:51820.")).toBeTruthy();
  expect(given).toEqual([]);
  await fireEvent.input(field("Party ID or invite"), { target: { value: "" } });
  expect(screen.queryByText(/Joining connects/)).toBeNull();
});

test("a mistyped ID is told while it can be mended", async () => {
  const fault = { code: "party_id_invalid" as const, details: { reason: "a symbol is wrong" } };
  shell({ find_invite: () => ({ kind: "damaged", fault }) });
  show(here());
  await openJoin();
  await fireEvent.input(field("Party ID or invite"), { target: { value: ID } });
  expect(await screen.findByText("That is not a party ID: a symbol is wrong.")).toBeTruthy();
  expect(field("Party ID or invite").getAttribute("aria-invalid")).toBe("true");
});

test("join from the clipboard fills the form, says whom it dials and waits for the player", async () => {
  const given = shell({ status: () => welcome() });
  const session = new Session();
  render(App, { session });
  await connect(session);
  await emit("wish", { kind: "join", found: INVITE });
  await waitFor(() => expect(field("Party ID or invite").value).toBe(`lanrage://join/${ID}`));
  expect(screen.getByText("Joining connects to 192.168.1.5:51820.")).toBeTruthy();
  await waitFor(() => expect(document.activeElement).toBe(button("Join")));
  const joins = () => given.filter(({ command }) => command === "join");
  expect(joins()).toEqual([]);
  await fireEvent.click(button("Join"));
  expect(joins()).toEqual([{ command: "join", args: { text: `lanrage://join/${ID}`, player: "Tom" } }]);
});

test("what was chosen in the tray before the page was there is not lost", async () => {
  const view = here({ party: party([me({ host: true }), member("Tom")]) });
  shell({ status: () => welcome({ view, wish: { kind: "ask_to_leave" } }) });
  const session = new Session();
  render(App, { session });
  await connect(session);
  expect((await screen.findByRole("alertdialog")).textContent).toContain("the party ends for everyone");
});

test("a clipboard without an invite is said, and nothing of it is shown", async () => {
  const session = show(here());
  session.wish({ kind: "join", found: { kind: "nothing" } });
  expect((await screen.findByRole("alert")).textContent).toContain("There is no invite on the clipboard.");
  expect(screen.queryByLabelText("Party ID or invite")).toBeNull();
});

test("an invite on the clipboard is offered when the window opens, and never taken", async () => {
  const given = shell({
    status: () => welcome(),
    look_at_clipboard: () => INVITE,
  });
  const session = new Session();
  render(App, { session });
  await connect(session);
  const offer = await screen.findByRole("region", { name: "An invite is on your clipboard" });
  expect(offer.textContent).toContain(ID);
  expect(offer.textContent).toContain("Joining connects to 192.168.1.5:51820.");
  expect(given.some(({ command }) => command === "join")).toBe(false);
  await fireEvent.click(button("Join this party"));
  expect(given.at(-1)).toEqual({ command: "join", args: { text: `lanrage://join/${ID}`, player: "Tom" } });
});

test("an offer that was declined, or is of the party just left, does not come again", async () => {
  shell({ look_at_clipboard: () => INVITE });
  const session = show(here());
  await session.lookAround();
  await fireEvent.click(await screen.findByRole("button", { name: "Not now" }));
  await session.lookAround();
  expect(session.clipboard).toBeNull();

  const next = new Session();
  next.see(here({ party: party([me()]) }));
  next.see(here());
  await next.lookAround();
  expect(next.clipboard).toBeNull();
});

test("theme and language are the player's choice, go to the shell and are there in the next first frame", async () => {
  const given = shell();
  show(here());
  await fireEvent.click(button("Settings"));
  await fireEvent.click(screen.getByRole("radio", { name: "Dark" }));
  expect(document.documentElement.dataset["theme"]).toBe("dark");
  await fireEvent.click(screen.getByRole("radio", { name: "Deutsch" }));
  expect(screen.getByRole("heading", { name: "Einstellungen" })).toBeTruthy();
  const { settings } = remembered();
  expect(given.at(-1)).toEqual({
    command: "change_app",
    args: { settings: { ...settings, theme: "dark", language: "de" } },
  });
  delete document.documentElement.dataset["theme"];
  speak("en");
  recall();
  expect([document.documentElement.dataset["theme"], document.documentElement.lang]).toEqual(["dark", "de"]);
  await tick();
  await fireEvent.keyDown(window, { key: "Escape" });
  expect(button("Party gründen")).toBeTruthy();
});

test("the shell is told the language once, however often it tells of itself", async () => {
  let told = 0;
  shell({ status: () => welcome(), speak: () => void (told += 1) });
  const session = new Session();
  render(App, { session });
  await connect(session);
  const app = remembered({ settings: { ...remembered().settings, language: "de" } });
  const before = told;
  for (let news = 0; news < 3; news += 1) await emit("app", app);
  await waitFor(() => expect(document.documentElement.lang).toBe("de"));
  expect(told - before).toBe(1);
  await emit("app", remembered());
});

test("parties of before are joined again with a click, and forgotten with another", async () => {
  const recent = [{ key: "k1", name: "Friday night", used: 1 }];
  const given = shell({ status: () => welcome({ app: remembered({ recent }) }) });
  const session = new Session();
  render(App, { session });
  await connect(session);
  await fireEvent.click(await screen.findByRole("button", { name: "Join Friday night again" }));
  expect(given.at(-1)).toEqual({ command: "join_recent", args: { key: "k1" } });
  await waitFor(() => expect(button("Forget Friday night")).toBeTruthy());
  await fireEvent.click(button("Forget Friday night"));
  expect(given.at(-1)).toEqual({ command: "forget_recent", args: { key: "k1" } });
  await waitFor(() => expect(screen.queryByText("Join again")).toBeNull());
});

test("a leave from the tray asks a host who is not alone", async () => {
  const given = shell();
  const session = show(here({ party: party([me({ host: true }), member("Tom")]) }));
  session.wish({ kind: "ask_to_leave" });
  await waitFor(() => expect(document.activeElement).toBe(button("Stay")));
  expect(given).toEqual([]);
  session.see(here());
  session.see(here({ party: party([me({ host: true }), member("Tom")]) }));
  await tick();
  expect(screen.queryByRole("alertdialog")).toBeNull();
});

test("a failure in the tray is told in the window", async () => {
  const session = show(here());
  session.wish({ kind: "refused", fault: { code: "engine_not_running" } });
  expect((await screen.findByRole("alert")).textContent).toContain("The LANrage engine is not running.");
});

test("Enter in the name goes on with what the player has begun", async () => {
  shell();
  show(here());
  expect(field("Your name").form).toBe(document.getElementById("create"));
  await openJoin();
  expect(field("Your name").form).toBe(document.getElementById("join"));
});

test("a member leaves with one click", async () => {
  const given = shell({ leave: () => new Promise(() => {}) });
  show(here({ party: party([me(), member("Tom", { host: true })]) }));
  await fireEvent.click(button("Leave"));
  expect(given.map(({ command }) => command)).toEqual(["leave"]);
  expect(button("Leaving…").disabled).toBe(true);
});

test("a host who is not alone is asked before the party ends for everyone", async () => {
  const given = shell();
  show(here({ party: party([me({ host: true }), member("Tom")]) }));
  await fireEvent.click(button("Leave"));
  expect(given).toEqual([]);
  expect(screen.getByRole("alertdialog").textContent).toContain("the party ends for everyone");
  await waitFor(() => expect(document.activeElement).toBe(button("Stay")));
  await fireEvent.keyDown(window, { key: "Escape" });
  await waitFor(() => expect(document.activeElement).toBe(button("Leave")));
  await fireEvent.click(button("Leave"));
  await fireEvent.click(button("End the party"));
  expect(given.map(({ command }) => command)).toEqual(["leave"]);
});

test("a host who is alone just leaves", async () => {
  const given = shell();
  show(here({ party: party([me({ host: true })]) }));
  await fireEvent.click(button("Leave"));
  expect(given.map(({ command }) => command)).toEqual(["leave"]);
});

test("another user's party is shown without what would let one in", () => {
  show(here({ party: party([me()], { id: null, invite: null }) }));
  expect(screen.getByText(/belongs to another user/)).toBeTruthy();
  expect(screen.queryByRole("button", { name: /invite/ })).toBeNull();
  expect(screen.queryByRole("button", { name: "Leave" })).toBeNull();
});
