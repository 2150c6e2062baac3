/** The engine's settings as they are shown and changed. The engine's answer is what is shown, never the wish. */

import { engine } from "./bridge";
import type { ControlTest, Fault, SettingChange, SettingKey, SettingsReport } from "./types";

/** What came of asking a server. */
export type Tested = { state: "asking" } | { state: "answers"; test: ControlTest } | { state: "silent"; fault: Fault };

export class EngineSetup {
  /** As the engine says; none until it has, or where there is no engine. */
  report = $state.raw<SettingsReport | null>(null);
  /** Why a change was refused, by setting. */
  refused = $state<Partial<Record<SettingKey, Fault>>>({});
  /** What was changed last. */
  saved = $state<SettingKey | null>(null);
  tested = $state.raw<Tested | null>(null);

  async load(): Promise<void> {
    const answer = await engine.settings();
    this.report = answer.ok ? answer.value : null;
  }

  async change(change: SettingChange): Promise<void> {
    this.saved = null;
    const answer = await engine.change(change);
    if (answer.ok) {
      this.report = answer.value;
      this.saved = change.key;
      delete this.refused[change.key];
    } else {
      this.refused[change.key] = answer.fault;
    }
  }

  async test(address: string): Promise<void> {
    this.tested = { state: "asking" };
    const answer = await engine.test(address);
    this.tested = answer.ok ? { state: "answers", test: answer.value } : { state: "silent", fault: answer.fault };
  }

  isFixed(key: SettingKey): boolean {
    return this.report?.fixed.includes(key) ?? false;
  }
}
