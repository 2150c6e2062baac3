import { fireEvent, render, screen, waitFor, within } from "@testing-library/svelte";
import { emit } from "@tauri-apps/api/event";
import { tick } from "svelte";
import { expect, test } from "vitest";
import App from "./App.svelte";
import { connect } from "./lib/bridge";
import { Session } from "./lib/session.svelte";
import type { EngineView, Found } from "./lib/types";
import { here, ID, me, member, party, refusing, shell } from "./test/engine";

function show(view: EngineView): Session {
  const session = new Session();
  session.see(view);
  render(App, { session });
  return session;
}

const field = (label: string) => screen.getByLabelText<HTMLInputElement>(label);
const button = (name: string | RegExp) => screen.getByRole<HTMLButtonElement>("button", { name });

test("the page asks once and then follows the engine's events", async () => {
  shell({ status: () => ({ view: here(), suggestedName: "Anna", wish: null }) });
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
  expect(screen.getByText(/Start the engine/)).toBeTruthy();
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
  expect(field("Party name").value).toBe("Zoë's party");
  await fireEvent.input(field("Your name"), { target: { value: "x".repeat(40) } });
  expect([...field("Party name").value].length).toBe(40);
  await fireEvent.input(field("Party name"), { target: { value: "Quake" } });
  await fireEvent.input(field("Your name"), { target: { value: "Tom" } });
  expect(field("Party name").value).toBe("Quake");
});

test("create sends both names, remembers the player's and shows its steps with a way out", async () => {
  const given = shell({ create: () => new Promise(() => {}), cancel: () => undefined });
  const session = show(here());
  await fireEvent.input(field("Your name"), { target: { value: " Zoë " } });
  await fireEvent.click(button("Create a party"));
  expect(given).toContainEqual({ command: "create", args: { party: "Zoë's party", player: "Zoë" } });
  expect(new Session().player).toBe("Zoë");

  session.see(here({ party: party([], { state: "creating" }) }));
  await tick();
  expect(screen.getByRole("heading", { name: "Creating Friday night" })).toBeTruthy();
  expect(screen.getByText("Opening the party on this computer").getAttribute("aria-current")).toBe("step");
  await fireEvent.click(button("Cancel"));
  expect(given.at(-1)?.command).toBe("cancel");
});

test("join sends what was pasted as it is", async () => {
  const given = shell();
  show(here());
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
    "Anna (host) ping 12 ms 10.66.0.1 direct",
    "Tom you 10.66.0.2",
    "Kim ping 38 ms 10.66.0.3 relayed",
    "Zoë 10.66.0.4 connecting…",
    "Ola ping 141 ms 10.66.0.5 direct, weak · 8 % lost, jitter 44 ms",
    "Ben 10.66.0.6 lost",
    "new player 10.66.0.7 can't connect · needs a relay",
  ]);
});

test("one member's news changes that member's row only", async () => {
  const tom = member("Tom", { address: "10.66.0.2" });
  const zoe = member("Zoë", { address: "10.66.0.3" });
  const session = show(here({ party: party([me(), tom, zoe]) }));
  const [, , other] = screen.getAllByRole("listitem");
  const touched: Node[] = [];
  const observer = new MutationObserver((changes) => touched.push(...changes.map((change) => change.target)));
  const list = screen.getByRole("list", { name: "Members" });
  observer.observe(list, { subtree: true, childList: true, characterData: true, attributes: true });
  session.see(here({ party: party([me(), { ...tom, rtt_ms: 99 }, { ...zoe }]) }));
  await tick();
  await Promise.resolve();
  observer.disconnect();
  expect(list.textContent).toContain("99 ms");
  expect(touched.length).toBeGreaterThan(0);
  expect(touched.some((node) => other?.contains(node))).toBe(false);
});

test("copy puts the invite on the clipboard and says so, or says that it could not", async () => {
  let broken = false;
  const given = shell({ copy: () => (broken ? Promise.reject({ code: "internal" }) : undefined) });
  const session = show(here({ party: party([me()]) }));
  expect(screen.getByText(ID)).toBeTruthy();
  await fireEvent.click(button(/Copy the invite/));
  expect(given.at(-1)?.command).toBe("copy");
  expect(await screen.findByText("Copied. Paste it to your friends.")).toBeTruthy();
  broken = true;
  await session.copy();
  expect((await screen.findByRole("alert")).textContent).toContain("The clipboard can't be reached.");
});

test("a member's address is copied by a click on it", async () => {
  const given = shell();
  show(here({ party: party([me(), member("Tom", { address: "10.66.0.2" })]) }));
  await fireEvent.click(button("Copy Tom's address 10.66.0.2"));
  expect(given).toEqual([{ command: "copy_address", args: { address: "10.66.0.2" } }]);
  const row = screen.getAllByRole("listitem")[1];
  await waitFor(() => expect(row?.textContent).toContain("copied"));
  expect(screen.getAllByText("copied").length).toBe(1);
});

const INVITE: Found = { kind: "invite", text: `lanrage://join/${ID}`, server: null, via: ["192.168.1.5:51820"] };

test("a pasted invite says whom it dials before anything is joined", async () => {
  const given = shell({ find_invite: () => INVITE });
  const session = show(here());
  session.player = "Tom";
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
  await fireEvent.input(field("Party ID or invite"), { target: { value: ID } });
  expect(await screen.findByText("That is not a party ID: a symbol is wrong.")).toBeTruthy();
  expect(field("Party ID or invite").getAttribute("aria-invalid")).toBe("true");
});

test("join from the clipboard fills the form, says whom it dials and waits for the player", async () => {
  const given = shell({ status: () => ({ view: here(), suggestedName: "Tom", wish: null }) });
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
  shell({ status: () => ({ view, suggestedName: "Anna", wish: { kind: "ask_to_leave" } }) });
  const session = new Session();
  render(App, { session });
  await connect(session);
  expect((await screen.findByRole("alertdialog")).textContent).toContain("the party ends for everyone");
});

test("a clipboard without an invite is said, and nothing of it is shown", async () => {
  const session = show(here());
  session.wish({ kind: "join", found: { kind: "nothing" } });
  expect((await screen.findByRole("alert")).textContent).toContain("There is no invite on the clipboard.");
  expect(field("Party ID or invite").value).toBe("");
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
  await fireEvent.input(field("Party ID or invite"), { target: { value: ID } });
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
