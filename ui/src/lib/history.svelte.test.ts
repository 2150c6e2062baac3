import { expect, test } from "vitest";
import { member } from "../test/engine";
import { History, outline, SPAN_MS, STEP_MS } from "./history.svelte";

const ADDRESS = "10.66.0.2";
const tom = (rtt: number) => member("Tom", { rtt_ms: rtt });
const lost = member("Tom", { state: "lost", path: null, rtt_ms: null });

test("a minute is kept, step by step", () => {
  const history = new History();
  const lines = new Set<unknown>();
  for (let at = 0; at < 2 * SPAN_MS; at += 100) {
    history.record([tom(at)], at);
    if (history.of(ADDRESS).length > 0) lines.add(history.of(ADDRESS));
  }
  const steps = history.of(ADDRESS);
  expect(lines.size, "another line with each step").toBe((2 * SPAN_MS) / STEP_MS - 1);
  expect(steps.length).toBe(SPAN_MS / STEP_MS);
  // The last one is still under way.
  expect(steps.at(-1)).toEqual({ low: 2 * SPAN_MS - 2 * STEP_MS, high: 2 * SPAN_MS - STEP_MS - 100 });
});

test("a ping holds until the next news", () => {
  const history = new History();
  history.record([tom(10)], 0);
  history.record([tom(30)], 4 * STEP_MS);
  expect(history.of(ADDRESS).map((step) => step?.high)).toEqual([10, 10, 10, 10]);
});

test("after a long sleep the line begins anew, and so it does when the clock is set back", () => {
  const history = new History();
  history.record([tom(10)], 10 * SPAN_MS);
  history.record([tom(10)], 12 * SPAN_MS);
  expect(history.of(ADDRESS)).toEqual([]);
  history.record([tom(10)], 11 * SPAN_MS);
  history.record([tom(10)], 11 * SPAN_MS + STEP_MS);
  expect(history.of(ADDRESS).length).toBe(1);
});

test("who left the list is forgotten", () => {
  const history = new History();
  history.record([tom(10)], 0);
  history.record([], STEP_MS);
  expect(history.of(ADDRESS)).toEqual([]);
});

test("nobody has the pings of who had the same address in another party", () => {
  const history = new History();
  history.record([tom(10)], 0);
  history.record([tom(10)], STEP_MS);
  history.forget();
  history.record([tom(20)], STEP_MS + 1);
  expect(history.of(ADDRESS)).toEqual([]);
  expect(history.extent(ADDRESS)).toEqual({ low: 20, high: 20 });
});

test("the worst ping of a step is drawn, and a broken connection is a gap", () => {
  const history = new History();
  const pings = [tom(30), tom(15), lost, tom(60), tom(60)];
  pings.forEach((ping, step) => history.record([ping], step * STEP_MS));
  history.record([tom(30)], 5 * STEP_MS - 1);
  history.record([tom(15)], 5 * STEP_MS);
  expect(outline(history.of(ADDRESS), 19, 10)).toBe("M15.0 5L16.0 8M18.0 0L19.0 0");
});

test("low and high are those of the whole minute", () => {
  const history = new History();
  expect(history.extent(ADDRESS)).toBeNull();
  history.record([tom(5)], 0);
  history.record([tom(9)], 1);
  history.record([tom(7)], STEP_MS);
  expect(history.extent(ADDRESS)).toEqual({ low: 5, high: 9 });
});
