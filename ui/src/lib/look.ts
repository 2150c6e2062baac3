/** The window's colours and language, as the player chose them. */

import { app } from "./bridge";
import { language, LANGUAGES, speak, type Language } from "./language.svelte";
import type { AppSettings, Theme } from "./types";

/** What the last visit looked like: the first frame is drawn before the shell has answered. */
const LAST = "lanrage.look";

/** What the shell was told last: it is told of changes only, as it answers each with news. */
let told = "";

type Look = Pick<AppSettings, "theme" | "language">;

/** Looks like the last visit. */
export function recall(): void {
  try {
    const look = JSON.parse(localStorage.getItem(LAST) ?? "{}") as Partial<Look>;
    apply({ theme: look.theme ?? "system", language: look.language ?? null });
  } catch {
    apply({ theme: "system", language: null });
  }
}

/** Looks as it is set. */
export function adopt({ theme, language: tag }: Look): void {
  apply({ theme, language: tag });
  localStorage.setItem(LAST, JSON.stringify({ theme, language: tag }));
  if (told === language()) return;
  told = language();
  void app.speak(told);
}

function apply({ theme, language: tag }: Look): void {
  document.documentElement.dataset["theme"] = (["light", "dark"] satisfies Theme[]).includes(theme as "light")
    ? theme
    : "system";
  speak(tag !== null && tag in LANGUAGES ? (tag as Language) : "system");
}
