/** What friends are sent. */

import { t } from "./text";
import type { Party } from "./types";

const LINK = "lanrage://join/";

/** What can be copied of a party. */
export type Shared = "invite" | "id" | "link" | "message";

/** The invite as a link: it is one already, unless the ID alone is enough to find the party. */
export function linkOf(party: Party & { id: string }): string {
  return party.invite?.startsWith(LINK) ? party.invite : LINK + party.id;
}

/** A sentence to send, with all that is needed to join. */
export function messageOf(party: Party & { id: string }): string {
  return t("share.message.text", { party: party.name, invite: linkOf(party) });
}
