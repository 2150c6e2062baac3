import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { FAULT_CODES, WHYS } from "../bindings/ipc";
import { bestOf, LANGUAGES, speak } from "./language.svelte";
import { faultAdvice, names, t } from "./text";

const { catalogue } = LANGUAGES.en;

afterEach(() => speak("en"));

test("every fault has its sentence and its action", () => {
  for (const code of FAULT_CODES) {
    for (const part of ["message", "action"]) {
      expect(catalogue[`fault.${code}.${part}`], `fault.${code}.${part}`).toMatch(/[.!?]$/);
    }
  }
});

test("every reason that is ours has its words, and those of the system stay", () => {
  for (const why of WHYS) expect(catalogue[`why.${why}`], why).toMatch(/[^.!?]$/);
  speak("de");
  const told = (reason: string) => faultAdvice({ code: "party_id_invalid", details: { reason } }).message;
  expect(told("id_length")).toBe("Das ist keine Party-ID: eine hat 20 Buchstaben und Ziffern.");
  expect(told("as the system says")).toBe("Das ist keine Party-ID: as the system says.");
});

test("no text is left over from a fault that no longer exists", () => {
  const codes = new Set<string>(FAULT_CODES);
  const unknown = Object.keys(catalogue).filter((key) => {
    const code = /^fault\.(\w+)\.(message|action)$/.exec(key)?.[1];
    return code !== undefined && !codes.has(code);
  });
  expect(unknown).toEqual([]);
});

test("every text that the source names by its full key exists", () => {
  const files = readdirSync("src", { recursive: true, encoding: "utf8" }).filter(
    (file) => /\.(svelte|ts)$/.test(file) && !file.endsWith(".test.ts"),
  );
  const missing: string[] = [];
  for (const file of files) {
    for (const [, key] of readFileSync(join("src", file), "utf8").matchAll(/\bt\("([^"]+)"/g)) {
      if (key && !(key in catalogue) && !(`${key}.other` in catalogue)) missing.push(`${file}: ${key}`);
    }
  }
  expect(missing).toEqual([]);
});

test("details fill a fault's sentence", () => {
  const { message } = faultAdvice({ code: "port_taken", details: { port: "51820" } });
  expect(message).toBe("UDP port 51820 is already in use.");
});

test("numbers take the right form and names become a list", () => {
  expect(t("verdict.players", { count: 1 })).toBe("1 player");
  expect(t("verdict.players", { count: 4 })).toBe("4 players");
  expect(names(["Tom", "Zoë", "Ana"])).toBe("Tom, Zoë and Ana");
});

test("every language says everything, with the same values in it", () => {
  const holes = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort();
  for (const [tag, { catalogue: other }] of Object.entries(LANGUAGES)) {
    expect(Object.keys(other).sort(), tag).toEqual(Object.keys(catalogue).sort());
    for (const [key, text] of Object.entries(other)) {
      expect(text.trim(), `${tag}: ${key}`).not.toBe("");
      expect(holes(text), `${tag}: ${key}`).toEqual(holes(catalogue[key] ?? ""));
    }
  }
});

test("a sentence ends in every language as it does in English", () => {
  for (const [tag, { catalogue: other }] of Object.entries(LANGUAGES)) {
    const open = Object.keys(catalogue).filter(
      (key) => /[.!?]$/.test(catalogue[key] ?? "") !== /[.!?]$/.test(other[key] ?? ""),
    );
    expect(open, tag).toEqual([]);
  }
});

test("German is spoken where it is wanted, down to lists and numbers", () => {
  speak("de");
  expect(document.documentElement.lang).toBe("de");
  expect(t("verdict.players", { count: 4 })).toBe("4 Spieler");
  expect(names(["Tom", "Zoë", "Ana"])).toBe("Tom, Zoë und Ana");
  expect(faultAdvice({ code: "port_taken", details: { port: "51820" } }).message).toBe("UDP-Port 51820 ist schon belegt.");
});

test("the first language of the system that there is counts, a dialect as its language", () => {
  expect(bestOf(["fr-FR", "de-AT", "en-US"])).toBe("de");
  expect(bestOf(["fr"])).toBe("en");
  expect(bestOf([])).toBe("en");
});
