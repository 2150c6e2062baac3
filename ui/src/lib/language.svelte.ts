/** The catalogues, and which of them the window speaks. */

import de from "../lang/de.json";
import en from "../lang/en.json";

/** Every language by its tag, with its own name and its catalogue. The English one is complete by definition. */
export const LANGUAGES = {
  en: { name: "English", catalogue: en as Catalogue },
  de: { name: "Deutsch", catalogue: de as Catalogue },
};

export type Catalogue = Record<string, string>;
export type Language = keyof typeof LANGUAGES;

/** The first of the wanted languages that there is; a dialect is served by its language. */
export function bestOf(wanted: readonly string[]): Language {
  for (const tag of wanted) {
    const language = tag.toLowerCase().split("-")[0];
    if (language && language in LANGUAGES) return language as Language;
  }
  return "en";
}

const current = $state<{ tag: Language }>({ tag: bestOf(navigator.languages) });

/** What the window speaks. Whatever shows text reads it, and is drawn anew when it changes. */
export function language(): Language {
  return current.tag;
}

/** Speaks this language, or the system's. */
export function speak(wanted: Language | "system"): void {
  current.tag = wanted === "system" ? bestOf(navigator.languages) : wanted;
  document.documentElement.lang = current.tag;
}
