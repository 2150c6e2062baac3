import { expect, test } from "vitest";
import { me, member, party } from "../test/engine";
import { milliseconds, verdict } from "./verdict";

const tom = member("Tom", { address: "10.66.0.2", rtt_ms: 38.4 });
const zoe = member("Zoë", { address: "10.66.0.3", rtt_ms: 20 });

test("alone", () => {
  expect(verdict(party([me()]))).toContain("Just you so far");
});

test("all direct, with the worst ping", () => {
  expect(verdict(party([me(), tom, zoe]))).toBe("3 players, all direct. Worst ping 38 ms.");
});

test("all on one LAN; a mix of LAN and direct counts as direct", () => {
  const near = { ...tom, path: "lan" as const };
  expect(verdict(party([me(), near]))).toBe("2 players, on your LAN. Ping 38 ms.");
  expect(verdict(party([me(), near, zoe]))).toContain("all direct");
});

test("relayed members are counted", () => {
  expect(verdict(party([me(), { ...tom, path: "relayed" }, zoe]))).toContain("one through a relay");
});

test("the worst news comes first: lost before connecting before weak", () => {
  const lost = { ...tom, state: "lost" as const, path: null, rtt_ms: null };
  const connecting = { ...zoe, state: "connecting" as const, path: null, rtt_ms: null };
  expect(verdict(party([me(), lost, connecting]))).toBe("3 players, no connection to Tom.");
  expect(verdict(party([me(), tom, connecting]))).toBe("3 players, still connecting to Zoë. Ping 38 ms.");
  expect(verdict(party([me(), { ...tom, state: "degraded" }, zoe]))).toContain("weak connection to Tom");
});

test("who left no longer counts", () => {
  expect(verdict(party([me(), tom, { ...zoe, state: "disconnected" }]))).toBe("2 players, direct. Ping 38 ms.");
});

test("many troubled members are a number, not a list", () => {
  const lost = [2, 3, 4, 5].map((n) => member(`P${n}`, { address: `10.66.0.${n}`, state: "lost" }));
  expect(verdict(party([me(), ...lost]))).toContain("no connection to 4 players");
});

test("a ping below a millisecond is not zero", () => {
  expect(milliseconds(0.3)).toBe("<1");
  expect(milliseconds(1.5)).toBe("2");
});
