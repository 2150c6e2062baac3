/** The window's words, from the catalogue of the language that it speaks. */

import type { Fault, Member } from "./types";
import { language, LANGUAGES, type Language } from "./language.svelte";

/** How a language counts and lists. */
interface Grammar {
  plural: Intl.PluralRules;
  conjunction: Intl.ListFormat;
}

const grammars = new Map<Language, Grammar>();

function grammar(): Grammar {
  const tag = language();
  let known = grammars.get(tag);
  if (!known) {
    // No comma before the last "and", as British English has it.
    const lists = tag === "en" ? "en-GB" : tag;
    known = {
      plural: new Intl.PluralRules(tag),
      conjunction: new Intl.ListFormat(lists, { type: "conjunction" }),
    };
    grammars.set(tag, known);
  }
  return known;
}

export type Values = Record<string, string | number>;

/**
 * The text of `key` with `{name}`s filled in. With a value `count`, `key.one` or `key.other` is taken as the
 * language's plural rules say.
 */
export function t(key: string, values: Values = {}): string {
  const { catalogue } = LANGUAGES[language()];
  const count = values["count"];
  const counted = typeof count === "number" ? catalogue[`${key}.${grammar().plural.select(count)}`] : undefined;
  const text = counted ?? catalogue[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (_, name: string) => String(values[name] ?? "?"));
}

/** Names as a list in words: "Tom", "Tom and Zoë", "Tom, Zoë and Ana". */
export function names(list: string[]): string {
  return grammar().conjunction.format(list);
}

/** Which way packets to a member go, in the words of `key`; empty while there is none. */
export function pathText(key: string, { path, relay }: Pick<Member, "path" | "relay">): string {
  if (path === null) return "";
  return relay === null ? t(`${key}.${path}`) : t(`${key}.${path}.via`, { relay });
}

/** What is wrong, and what helps. */
export interface Advice {
  message: string;
  action: string;
}

/** What has words in every language, if it is one of ours; else it is words already. */
function words(kind: "why" | "notes", said: string): string {
  return LANGUAGES[language()].catalogue[`${kind}.${said}`] ?? said;
}

/** What is to be known of a game. */
export function notesText(notes: string): string {
  return words("notes", notes);
}

export function faultAdvice(fault: Fault): Advice {
  const { reason } = fault.details ?? {};
  const details = { ...fault.details, ...(reason === undefined ? {} : { reason: words("why", reason) }) };
  return {
    message: t(`fault.${fault.code}.message`, details),
    action: t(`fault.${fault.code}.action`, details),
  };
}
