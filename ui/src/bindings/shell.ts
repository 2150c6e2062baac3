// Generated from src-tauri/src/view.rs, app.rs and found.rs; a test there keeps it current.

import type { Fault, Status } from "./ipc";

export type EngineView = { "kind": "connecting" } | { "kind": "away", 
/**
 * Why.
 */
fault: Fault, } | { "kind": "here", 
/**
 * All of it, as it is now.
 */
status: Status, };

export type Welcome = { 
/**
 * As it is now.
 */
view: EngineView, 
/**
 * The player's name as typed last, else one from the system; may be empty.
 */
suggestedName: string, 
/**
 * What the app remembers.
 */
app: AppState, 
/**
 * What the player chose before the page was there to hear it.
 */
wish: Wish | null, };

export type Found = { "kind": "nothing" } | { "kind": "damaged", 
/**
 * In which way.
 */
fault: Fault, } | { "kind": "invite", 
/**
 * The invite without the words around it.
 */
text: string, 
/**
 * The server that would be dialled.
 */
server: string | null, 
/**
 * The computers that would be dialled.
 */
via: Array<string>, };

export type Wish = { "kind": "join", 
/**
 * What it holds.
 */
found: Found, } | { "kind": "ask_to_leave" } | { "kind": "refused", 
/**
 * Why.
 */
fault: Fault, };

export type AppState = { 
/**
 * How it is set.
 */
settings: AppSettings, 
/**
 * Whether it starts when the user signs in; absent where the system can't be asked.
 */
startAtLogin: boolean | null, 
/**
 * The parties to join again, the last one first.
 */
recent: Array<RecentParty>, 
/**
 * The languages there are, by their catalogues' names.
 */
languages: Array<string>, 
/**
 * A file that could not be read and was set aside.
 */
trouble: Fault | null, };

export type AppSettings = { 
/**
 * What the player is called in the next party; as typed last.
 */
player: string | null, 
/**
 * Dark or light.
 */
theme: Theme, 
/**
 * The language by its catalogue's name; the system's when absent.
 */
language: string | null, 
/**
 * What the system notifies of.
 */
notify: Notify, 
/**
 * Whether quitting the app leaves the party as well.
 */
leaveOnQuit: boolean, };

export type Theme = "system" | "light" | "dark";

export type Notify = { 
/**
 * Somebody came.
 */
joined: boolean, 
/**
 * Somebody left.
 */
left: boolean, 
/**
 * The connection to somebody is lost.
 */
lost: boolean, 
/**
 * The party was ended by its host.
 */
dissolved: boolean, };

export type RecentParty = { 
/**
 * What names it in `join_recent` and `forget_recent`.
 */
key: string, 
/**
 * What it is called.
 */
name: string, 
/**
 * When it was entered last, seconds since 1970.
 */
used: number, };
