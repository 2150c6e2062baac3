/** The engine's and the shell's words as the page uses them; all are generated into `bindings`. */

export type {
  AnnounceMember as Reach,
  AnnounceStatus as Announce,
  Change,
  ControlTest,
  Fault,
  FaultCode,
  Game,
  HeardStatus as Heard,
  LobbyStatus as Lobby,
  LogPage,
  MemberStatus as Member,
  PartyStatus as Party,
  PathKind as Path,
  PairReport,
  PeerReport,
  PeerState,
  Report,
  Rules,
  Sharing,
  SettingChange,
  SettingKey,
  SettingsReport,
  Status,
  StunChoice,
} from "../bindings/ipc";
export type { AppSettings, AppState, EngineView, Found, Notify, RecentParty, Theme, Welcome, Wish } from "../bindings/shell";
