/** Who sees whose game, in sentences: of each program one for all members with whom it went the same. */

import { names, t } from "./text";
import type { Announce, Game, Lobby, Reach } from "./types";

/** What became of an announce, from the best to the worst. */
const OUTCOMES = ["answered", "sees", "nearby", "unknown", "deaf", "unconfirmed", "unsent"] as const;
export type Outcome = (typeof OUTCOMES)[number];

/** What a sentence says: of an own lobby how far it came, of a friend's whether a program here waits for it. */
export type Told = Outcome | "here" | "waits";

export interface Sentence {
  told: Told;
  text: string;
}

/** A program here that shows its lobby, or looks for others'. */
export interface Program {
  key: string;
  /** The game, where its port gives it away. */
  name: string | null;
  /** The UDP ports that it announces to, in words. */
  ports: string;
  sentences: Sentence[];
}

/** More names than this are a number. */
const NAMES = 4;

/** Who is called everyone is at least so many. */
const EVERYONE = 3;

/** By these ports systems name themselves and ask for addresses: DHCP, NetBIOS, SSDP, WS-Discovery, mDNS, LLMNR. */
const SYSTEM_PORTS: ReadonlySet<number> = new Set([67, 68, 137, 138, 1900, 3702, 5353, 5355]);

/** Somebody, and the ports at which nobody listened there. */
interface Found {
  name: string;
  outcome: Outcome;
  deafTo: Set<number>;
}

/**
 * Programs here and who sees them. What one program announces on several interfaces and to several addresses is told
 * once, as the best of it: who got it at all has got it. So are programs that nobody can tell apart.
 */
export function programs({ announces }: Lobby, games: readonly Game[]): Program[] {
  const lobbies = announces.filter((announce) => !SYSTEM_PORTS.has(announce.to_port));
  const byProgram = [...groups(lobbies, (announce) => announce.port).values()].map((all) => ({
    all,
    name: gameOf(all, games),
    ports: ports(all.map((announce) => announce.to_port)),
  }));
  const alike = groups(byProgram, ({ name, ports }) => JSON.stringify([name, ports]));
  return [...alike].flatMap(([key, same]) => {
    const sentences = outcomes(same.flatMap(({ all }) => all));
    const [{ name, ports }] = same;
    return sentences.length === 0 ? [] : [{ key, name, ports, sentences }];
  });
}

/** Friends' lobbies that came here. */
export function heard({ heard }: Lobby): Sentence[] {
  const lobbies = heard.filter((each) => !SYSTEM_PORTS.has(each.to_port));
  // A friend's program once, whatever it announces to.
  const told = [...groups(lobbies, (each) => `${each.address} ${each.port}`).values()].map((all) => ({
    name: all[0].name,
    address: all[0].address,
    told: all.every(({ listens }) => listens === "no") ? ("waits" as const) : ("here" as const),
    ports: ports(all.map((each) => each.to_port)),
  }));
  return [...groups(told, ({ told, ports }) => `${told} ${ports}`).values()].map((same) => {
    const [{ told, ports }] = same;
    const friends = [...groups(same, ({ address }) => address).values()].map(([first]) => first.name);
    return { told, text: t(`lobby.${told}`, { count: friends.length, owners: owners(friends), ports }) };
  });
}

/** The running game that has one of these ports. */
function gameOf(announces: Announce[], games: readonly Game[]): string | null {
  const taken = new Set(announces.flatMap(({ port, to_port }) => [port, to_port]));
  const fitting = new Set(games.filter(({ address }) => taken.has(portOf(address))).map(({ name }) => name));
  const [name] = fitting;
  return fitting.size === 1 && name !== undefined ? name : null;
}

/** The port in `address:port`; 0, which no program has, where there is none. */
function portOf(address: string | null): number {
  return Number(address?.split(":").at(-1) ?? 0);
}

/** One sentence for all members with whom it went the same. */
function outcomes(announces: Announce[]): Sentence[] {
  const members = new Map<string, Found>();
  for (const announce of announces) {
    for (const member of announce.members) {
      const outcome = outcomeOf(member);
      const found = members.get(member.address) ?? { name: member.name, outcome, deafTo: new Set() };
      if (OUTCOMES.indexOf(outcome) < OUTCOMES.indexOf(found.outcome)) found.outcome = outcome;
      if (outcome === "deaf") found.deafTo.add(announce.to_port);
      members.set(member.address, found);
    }
  }
  const same = groups([...members.values()], ({ outcome, deafTo }) => `${outcome} ${outcome === "deaf" && ports([...deafTo])}`);
  const told = [...same.values()].map((some) => ({
    told: some[0].outcome,
    text: sentence(some, some.length === members.size),
  }));
  return told.sort((one, other) => OUTCOMES.indexOf(one.told) - OUTCOMES.indexOf(other.told));
}

function outcomeOf({ reach, listens, answered }: Reach): Outcome {
  if (answered) return "answered";
  switch (reach) {
    case "unsent":
      return "unsent";
    case "sent":
      return "unconfirmed";
    case "nearby":
      return "nearby";
    case "delivered":
      return listens === "yes" ? "sees" : listens === "no" ? "deaf" : "unknown";
  }
}

function sentence(some: Some<Found>, all: boolean): string {
  const [{ outcome, deafTo }] = some;
  const values = { ports: ports([...deafTo]) };
  if (all && some.length >= EVERYONE) return t(`lobby.${outcome}.all`, values);
  const who = some.map(({ name }) => name);
  const text = t(`lobby.${outcome}`, { count: who.length, names: few(who), owners: owners(who), ...values });
  // Whoever has no name has none to be left as it is written.
  return who[0] ? text : text.charAt(0).toLocaleUpperCase() + text.slice(1);
}

/** Names in a row, many as a few and a number. */
function few(who: string[]): string {
  return row(who.map(called), "lobby.more");
}

/** Names in a row as those of whom something is. */
function owners(who: string[]): string {
  return row(
    who.map((name) => t("lobby.owner", { name: called(name) })),
    "lobby.owner.more",
  );
}

function called(name: string): string {
  return name || t("lobby.unnamed");
}

function row(list: string[], more: string): string {
  if (list.length <= NAMES) return names(list);
  return names([...list.slice(0, NAMES - 1), t(more, { count: list.length - NAMES + 1 })]);
}

/** Ports in order, neighbours as a range: "6112", "6112, 27960–27963". */
export function ports(list: number[]): string {
  const ranges: { first: number; last: number }[] = [];
  for (const port of [...new Set(list)].sort((one, other) => one - other)) {
    const range = ranges.at(-1);
    if (range && port === range.last + 1) range.last = port;
    else ranges.push({ first: port, last: port });
  }
  return ranges.map(({ first, last }) => (first === last ? `${first}` : `${first}–${last}`)).join(", ");
}

/** At least one. */
type Some<Item> = [Item, ...Item[]];

/** What has the same key, in the order of its first. */
function groups<Item, Key>(items: Item[], key: (item: Item) => Key): Map<Key, Some<Item>> {
  const groups = new Map<Key, Some<Item>>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group) group.push(item);
    else groups.set(key(item), [item]);
  }
  return groups;
}
