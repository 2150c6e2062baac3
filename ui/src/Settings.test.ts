import { fireEvent, render, screen, waitFor, within } from "@testing-library/svelte";
import { expect, test } from "vitest";
import App from "./App.svelte";
import { Session } from "./lib/session.svelte";
import type { Report, SettingChange, SettingsReport } from "./lib/types";
import { here, me, party, refusing, shell } from "./test/engine";

const settings: SettingsReport = {
  settings: {
    player: null,
    control: "local",
    stun: { kind: "public" },
    relays: { servers: [], user: null, has_password: false },
    port: null,
    port_mapping: true,
    punching: true,
  },
  pending: [],
  fixed: [],
};

function open(what: "settings" | "diagnostics"): Session {
  const session = new Session();
  session.see(here({ party: party([me()]) }));
  session.open(what);
  render(App, { session });
  return session;
}

const button = (name: string) => screen.getByRole<HTMLButtonElement>("button", { name });

test("a server is tried before it is saved, and what the engine says is shown", async () => {
  const given = shell({
    engine_settings: () => settings,
    test_control: () => ({ address: "wss://lan.example.org", encrypted: true, rtt_ms: 23.4 }),
    change_setting: () => ({ ...settings, settings: { ...settings.settings, control: "wss://lan.example.org" }, pending: ["control"] }),
  });
  open("settings");
  await fireEvent.click(await screen.findByRole("radio", { name: "A server" }));
  await fireEvent.input(screen.getByLabelText("Server address"), { target: { value: " wss://lan.example.org" } });
  await fireEvent.click(button("Test"));
  expect(given.at(-1)).toEqual({ command: "test_control", args: { address: "wss://lan.example.org" } });
  expect(await screen.findByText("It answers in 23 ms, encrypted.")).toBeTruthy();
  const form = screen.getByLabelText("Server address").closest("form")!;
  await fireEvent.click(within(form).getByRole("button", { name: "Save" }));
  const change: SettingChange = { key: "control", value: "wss://lan.example.org" };
  expect(given.at(-1)).toEqual({ command: "change_setting", args: { change } });
  expect(await screen.findByText("In effect from the next party on.")).toBeTruthy();
});

test("a server that does not answer says why, and a refused change what helps", async () => {
  shell({
    engine_settings: () => settings,
    test_control: refusing({ code: "control_untrusted", details: { reason: "it is self-signed" } }),
    change_setting: refusing({ code: "port_taken", details: { port: "4000" } }),
  });
  open("settings");
  await fireEvent.click(await screen.findByRole("radio", { name: "A server" }));
  await fireEvent.input(screen.getByLabelText("Server address"), { target: { value: "wss://lan.example.org" } });
  await fireEvent.click(button("Test"));
  expect(await screen.findByText(/is not trusted: it is self-signed/)).toBeTruthy();
  await fireEvent.change(screen.getByLabelText("UDP port"), { target: { value: "4000" } });
  expect(await screen.findByText(/UDP port 4000 is already in use/)).toBeTruthy();
});

test("what the command line says can't be changed here, and that is said", async () => {
  shell({ engine_settings: () => ({ ...settings, fixed: ["port"] }) });
  open("settings");
  expect((await screen.findByLabelText<HTMLInputElement>("UDP port")).disabled).toBe(true);
  expect(screen.getByText("Set on the engine's command line.")).toBeTruthy();
});

test("each notification is a switch of its own", async () => {
  const given = shell({ engine_settings: () => settings });
  open("settings");
  await fireEvent.click(screen.getByRole("switch", { name: "somebody leaves" }));
  expect(given.at(-1)).toMatchObject({
    command: "change_app",
    args: { settings: { notify: { joined: true, left: false, lost: true, dissolved: true } } },
  });
});

const family = {
  public_address: false,
  address: true,
  type: "symmetric" as const,
  reason: null,
  mapped: "192.0.2.9:51820",
  translated: true,
  mapping: null,
  filtering: null,
  servers: [],
  tests: [],
  earlier: false,
};

const report: Report = {
  engine: { version: "0.1.0", state: "ready", player: "", control: { mode: "local", state: "idle" } },
  control: { at: null, answers: null },
  udp: "open",
  ipv4: family,
  ipv6: { ...family, mapped: null },
  relays: [{ server: "turn.example.org", up: true, relayed: null, rtt_ms: 18, ways: [] }],
  mapping: { state: "mapped", protocol: "upnp", gateway: null, udp: "192.0.2.9:4000", tcp: null, reason: null },
  hosting: { reachable: true, via: [] },
  adapter: { possible: true, name: "lanrage0", address: "10.66.0.1", mtu: 1280 },
  changes: [
    { what: "adapter", name: "lanrage0", address: "10.66.0.1" },
    { what: "route", network: "255.255.255.255/32", adapter: "lanrage0" },
    { what: "group", group: "239.1.2.3", adapter: "eth0" },
    { what: "firewall_rule", name: "LANrage", adapter: "lanrage0" },
    { what: "capture", addresses: ["192.168.1.5", "172.17.0.1"] },
    { what: "port_mapping", protocol: "udp", external: "192.0.2.9:4000", internal: 51820 },
  ],
  peers: [
    {
      name: "Tom",
      address: "10.66.0.2",
      state: "connected",
      path: "direct",
      rtt_ms: 12,
      nat: "full_cone",
      expected: "perhaps",
      pairs: [
        {
          by: "udp",
          relay: null,
          remote: "198.51.100.7:4000",
          kind: "reflexive",
          state: "chosen",
          reason: null,
          probes: 3,
          answers: 3,
          rtt_ms: 12,
        },
      ],
    },
  ],
  findings: [{ code: "nat_symmetric" }],
};

test("the diagnosis tells in words what is wrong, how the network is and what was changed", async () => {
  shell({ doctor: () => report });
  open("diagnostics");
  expect(await screen.findByText(/Your router takes another port for each friend/)).toBeTruthy();
  for (const text of [
    "symmetric: hard to reach",
    "192.0.2.9:51820",
    "granted by the router (192.0.2.9:4000)",
    "turn.example.org, 18 ms",
    "Network adapter lanrage0 with the address 10.66.0.1",
    "Route to 255.255.255.255/32 by lanrage0",
    "Multicast group 239.1.2.3 joined on eth0",
    "Firewall rule “LANrage” for what comes by lanrage0",
    "What programs broadcast by 192.168.1.5 and 172.17.0.1 goes to the party too",
    "The router's port 192.0.2.9:4000 (udp) leads to port 51820 here",
    "A direct way is possible with luck.",
    "directly, its address from outside 198.51.100.7:4000: in use, 12 ms",
  ]) {
    expect(screen.getByText(text)).toBeTruthy();
  }
});

test("where nothing is wrong that is said too", async () => {
  shell({ doctor: () => ({ ...report, findings: [], changes: [] }) });
  open("diagnostics");
  expect(await screen.findByText("Nothing is wrong.")).toBeTruthy();
  expect(screen.getByText(/^Nothing\. In a party it makes/)).toBeTruthy();
});

test("the log is fetched piece by piece when asked for, and the export says where it is", async () => {
  const pages = [
    { lines: ["one", "two"], next: 2, more: true },
    { lines: ["three"], next: 3, more: false },
  ];
  const given = shell({ doctor: () => report, log: () => pages.shift(), export: () => "/home/anna/lanrage.zip" });
  open("diagnostics");
  await fireEvent.click(button("Show the log"));
  const log = await screen.findByRole("region", { name: "Log" });
  expect([...log.children].map((line) => line.textContent)).toEqual(["one", "two", "three"]);
  expect(given.filter(({ command }) => command === "log").map(({ args }) => args)).toEqual([{ from: 0 }, { from: 2 }]);
  await fireEvent.click(button("Save as zip"));
  await waitFor(() => expect(screen.getByText("Saved as /home/anna/lanrage.zip.")).toBeTruthy());
});
