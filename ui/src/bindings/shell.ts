// Generated from src-tauri/src/view.rs and found.rs; a test there keeps it current.

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
 * A player's name from the system, for the first visit; may be empty.
 */
suggestedName: string, 
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
 * What is on it.
 */
found: Found, } | { "kind": "ask_to_leave" } | { "kind": "refused", 
/**
 * Why.
 */
fault: Fault, };
