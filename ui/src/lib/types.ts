/** The engine's and the shell's words as the page uses them; all are generated into `bindings`. */

export type {
  Change,
  ControlTest,
  Fault,
  FaultCode,
  LogPage,
  MemberStatus as Member,
  PartyStatus as Party,
  PathKind as Path,
  PairReport,
  PeerReport,
  PeerState,
  Report,
  SettingChange,
  SettingKey,
  SettingsReport,
  Status,
  StunChoice,
} from "../bindings/ipc";
export type { AppSettings, AppState, EngineView, Found, Notify, RecentParty, Theme, Welcome, Wish } from "../bindings/shell";
