/** The engine's and the shell's words as the page uses them; all are generated into `bindings`. */

export type {
  Fault,
  FaultCode,
  MemberStatus as Member,
  PartyStatus as Party,
  PathKind as Path,
  PeerState,
  Status,
} from "../bindings/ipc";
export type { EngineView, Found, Welcome, Wish } from "../bindings/shell";
