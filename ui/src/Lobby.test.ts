import { fireEvent, render, screen, waitFor, within } from "@testing-library/svelte";
import { tick } from "svelte";
import { expect, test } from "vitest";
import App from "./App.svelte";
import { Session } from "./lib/session.svelte";
import type { Party, Rules, Status } from "./lib/types";
import { announce, heardOf, here, me, member, party, reach, refusing, shell } from "./test/engine";

const friends = [me(), member("Tom")];

function show(over: Partial<Party> = {}, status: Partial<Status> = {}): Session {
  const session = new Session();
  session.see(here({ party: party(friends, over), ...status }));
  render(App, { session });
  return session;
}

const group = (name: string) => screen.getByRole("group", { name });
const items = (name: string) => within(group(name)).getAllByRole("listitem").map((item) => item.textContent?.trim());
const toggle = (name: string) => screen.getByRole<HTMLInputElement>("switch", { name });

test("who sees the game here and whose lobbies are here is told while there is something to tell", async () => {
  const session = show();
  expect(screen.queryByRole("group", { name: "Lobby" })).toBeNull();
  expect(screen.queryByRole("group", { name: "Games" })).toBeNull();
  const lobby = { announces: [announce([reach("Tom")])], heard: [heardOf("Tom", { port: 3979, to_port: 3979 })] };
  session.see(here({ party: party(friends, { lobby }) }));
  await tick();
  expect(items("Lobby")).toEqual(["Tom can see your lobby.", "Tom's lobby is here (UDP 3979)."]);
  // The only one, and of no known game: what it is called says nothing.
  expect(within(group("Lobby")).queryByRole("heading", { level: 3 })).toBeNull();
  session.see(here({ party: party(friends) }));
  await tick();
  expect(screen.queryByRole("group", { name: "Lobby" })).toBeNull();
});

test("a running game is named with its lobby, and its address is copied", async () => {
  const given = shell();
  const notes = "local_area_network";
  const warcraft = { name: "Warcraft III", address: "10.66.0.1:6112", process: "war3.exe", keepalive: null, notes };
  const doom = { name: "Doom", address: null, process: "doom", keepalive: null, notes: null };
  show({ lobby: { announces: [announce([reach("Tom")])], heard: [] } }, { games: [warcraft, doom] });
  const heading = within(group("Lobby")).getByRole("heading", { level: 3 });
  expect(heading.textContent?.replace(/\s+/g, " ").trim()).toBe("Warcraft III UDP 6112");
  expect(items("Games")).toHaveLength(2);
  expect(within(group("Games")).getByText("Friends see the game under Local Area Network.")).toBeTruthy();
  const copies = within(group("Games")).getAllByRole("button");
  expect(copies.map((copy) => copy.getAttribute("aria-label"))).toEqual(["Copy Warcraft III's address 10.66.0.1:6112"]);
  await fireEvent.click(copies[0]!);
  expect(given).toEqual([{ command: "copy_address", args: { address: "10.66.0.1:6112" } }]);
  await waitFor(() => expect(copies[0]!.textContent).toContain("Copied"));
});

const closed: Rules = { share: "nothing", multicast: true, dhcp: false, mdns: false, ssdp: false, netbios: false };

test("files are shared at a switch, which shows what the engine says", async () => {
  const given = shell();
  const session = show();
  expect(group("Your computer").textContent).toContain("Friends can't reach files, printers or remote control");
  await fireEvent.click(toggle("Share files and printers too"));
  expect(given).toEqual([{ command: "change_rules", args: { change: { share: "files" } } }]);
  expect(toggle("Share files and printers too").checked).toBe(false);
  session.see(here({ party: party(friends, { rules: { ...closed, share: "files" } }) }));
  await tick();
  expect(toggle("Share files and printers too").checked).toBe(true);
  expect(group("Your computer").textContent).toContain("Friends reach the files and printers");
  await fireEvent.click(toggle("Share files and printers too"));
  expect(given.at(-1)).toEqual({ command: "change_rules", args: { change: { share: "nothing" } } });
});

test("remote control and what is carried are one click away", async () => {
  const given = shell();
  const session = show({ rules: { ...closed, share: "files" } });
  const more = screen.getByRole("button", { name: "More switches" });
  expect(more.getAttribute("aria-expanded")).toBe("false");
  expect(screen.queryByRole("switch", { name: "Share remote control too" })).toBeNull();
  await fireEvent.click(more);
  for (const [name, change] of [
    ["Share remote control too", { share: "everything" }],
    ["Multicast DNS", { mdns: true }],
    ["SSDP", { ssdp: true }],
    ["NetBIOS", { netbios: true }],
    ["DHCP", { dhcp: true }],
    ["Multicast", { multicast: false }],
  ] as const) {
    await fireEvent.click(toggle(name));
    expect(given.at(-1)).toEqual({ command: "change_rules", args: { change } });
  }
  const rules: Rules = { share: "everything", multicast: false, dhcp: false, mdns: true, ssdp: true, netbios: false };
  session.see(here({ party: party(friends, { rules }) }));
  await tick();
  await fireEvent.click(more);
  // Shut, it still says what is not as it is by itself.
  for (const text of [
    "Friends reach everything that this computer serves, remote control included.",
    "Carried to friends too: Multicast DNS and SSDP.",
    "Multicast is not carried: games that find each other by it don't.",
  ]) {
    expect(screen.getByText(text)).toBeTruthy();
  }
  await fireEvent.click(more);
  await fireEvent.click(toggle("Share remote control too"));
  expect(given.at(-1)).toEqual({ command: "change_rules", args: { change: { share: "files" } } });
});

test("a refused switch stays as it was and says why", async () => {
  shell({ change_rules: refusing({ code: "engine_not_running" }) });
  show();
  await fireEvent.click(toggle("Share files and printers too"));
  expect(await screen.findByText(/The LANrage engine is not running/)).toBeTruthy();
  expect(toggle("Share files and printers too").checked).toBe(false);
});

test("another user's party has no switches", () => {
  show({ id: null, invite: null });
  expect(screen.queryByRole("switch")).toBeNull();
});
