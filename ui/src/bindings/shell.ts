// Generated from src-tauri/src/view.rs; a test there keeps it current.

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
suggestedName: string, };
