/** The window's words, all from one catalogue. */

import type { Fault } from "../bindings/ipc";
import en from "../lang/en.json";

const catalogue: Record<string, string> = en;
const plural = new Intl.PluralRules("en");
const conjunction = new Intl.ListFormat("en-GB", { type: "conjunction" });

export type Values = Record<string, string | number>;

/**
 * The text of `key` with `{name}`s filled in. With a value `count`, `key.one` or `key.other` is taken as the
 * language's plural rules say.
 */
export function t(key: string, values: Values = {}): string {
  const count = values["count"];
  const text = (typeof count === "number" ? catalogue[`${key}.${plural.select(count)}`] : undefined) ?? catalogue[key];
  return (text ?? key).replace(/\{(\w+)\}/g, (_, name: string) => String(values[name] ?? "?"));
}

/** Names as a list in words: "Tom", "Tom and Zoë", "Tom, Zoë and Ana". */
export function names(list: string[]): string {
  return conjunction.format(list);
}

/** What is wrong, and what helps. */
export interface Advice {
  message: string;
  action: string;
}

export function faultAdvice(fault: Fault): Advice {
  return {
    message: t(`fault.${fault.code}.message`, fault.details),
    action: t(`fault.${fault.code}.action`, fault.details),
  };
}
