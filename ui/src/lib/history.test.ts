import { expect, test } from "vitest";
import { member } from "../test/engine";
import { extent, History, outline, SPAN_MS } from "./history";

const tom = (rtt: number) => member("Tom", { rtt_ms: rtt });
const lost = member("Tom", { state: "lost", path: null, rtt_ms: null });

test("a minute is kept, and no more than can be drawn", () => {
  const history = new History();
  for (let at = 0; at <= 90_000; at += 100) history.record([tom(at)], at);
  const samples = history.of("10.66.0.2");
  expect(samples.length).toBeLessThanOrEqual(SPAN_MS / 500 + 1);
  expect(samples[0]?.at).toBe(30_000);
  expect(samples.at(-1)?.at).toBe(90_000);
});

test("who left the list is forgotten", () => {
  const history = new History();
  history.record([tom(10)], 0);
  history.record([], 500);
  expect(history.of("10.66.0.2")).toEqual([]);
});

test("a broken connection is a gap, noted at once", () => {
  const history = new History();
  history.record([tom(30)], 0);
  history.record([tom(30)], 500);
  history.record([lost], 600);
  history.record([tom(60)], 30_500);
  history.record([tom(60)], 31_000);
  expect(outline(history.of("10.66.0.2"), 60, 10)).toBe("M29.0 5.0L29.5 5.0M59.5 0.0L60.0 0.0");
});

test("low and high are told once there are two pings", () => {
  expect(extent([{ at: 0, rtt: 5 }])).toBeNull();
  expect(
    extent([
      { at: 0, rtt: 5 },
      { at: 1, rtt: null },
      { at: 2, rtt: 9 },
    ]),
  ).toEqual({ low: 5, high: 9 });
});
