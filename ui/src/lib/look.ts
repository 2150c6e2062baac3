/** The window's colours and language, as the player chose them. */

import { LANGUAGES, speak, type Language } from "./language.svelte";

/** Where the choice is kept between visits. */
const LAST = "lanrage.look";

export type Theme = "system" | "light" | "dark";

export interface Look {
  theme: Theme;
  /** The system's where absent. */
  language: Language | null;
}

/** Looks like the last visit. */
export function recall(): Look {
  let look: Partial<Look> = {};
  try {
    look = JSON.parse(localStorage.getItem(LAST) ?? "{}") as Partial<Look>;
  } catch {
    // Damaged: as if nothing had been chosen.
  }
  const theme = look.theme === "light" || look.theme === "dark" ? look.theme : "system";
  return apply({ theme, language: look.language && look.language in LANGUAGES ? look.language : null });
}

/** Looks so from now on, and at the next visit. */
export function adopt(look: Look): void {
  apply(look);
  localStorage.setItem(LAST, JSON.stringify(look));
}

function apply(look: Look): Look {
  document.documentElement.dataset["theme"] = look.theme;
  speak(look.language ?? "system");
  return look;
}
