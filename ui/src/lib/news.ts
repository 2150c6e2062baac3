/** What is new in what the engine says, so that only that is drawn again. */

import type { EngineView, Member } from "./types";

/**
 * The news with the old objects in the place of all members that say the same. The engine tells everything each
 * time; a row is drawn again only when its member is another object.
 */
export function withOldRows(old: EngineView, news: EngineView): EngineView {
  if (old.kind !== "here" || news.kind !== "here") return news;
  const { party } = news.status;
  if (!party || !old.status.party) return news;
  const known = new Map(old.status.party.members.map((member) => [member.address, member]));
  const members = party.members.map((member) => {
    const before = known.get(member.address);
    return before && isSame(before, member) ? before : member;
  });
  return { kind: "here", status: { ...news.status, party: { ...party, members } } };
}

function isSame(one: Member, other: Member): boolean {
  return (Object.keys(other) as (keyof Member)[]).every((key) => one[key] === other[key]);
}
