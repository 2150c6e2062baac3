import { expect, test } from "vitest";
import { announce, heardOf, reach } from "../test/engine";
import { heard, ports, programs } from "./lobby";
import { speak } from "./language.svelte";
import type { Announce, Game, Heard } from "./types";

const own = (announces: Announce[], games: Game[] = []) => programs({ announces, heard: [] }, games);
const friends = (list: Heard[]) => heard({ announces: [], heard: list });
const texts = (announces: Announce[]) => own(announces).map(({ sentences }) => sentences.map(({ text }) => text));

function game(name: string, address: string | null): Game {
  return { name, address, process: name.toLowerCase(), keepalive: null, notes: null };
}

test("each outcome is a sentence, the best first", () => {
  const all = announce([
    reach("Ben", { reach: "unsent", listens: "unknown" }),
    reach("Tom"),
    reach("Ana", { listens: "no" }),
    reach("Zoë", { reach: "sent", listens: "unknown" }),
    reach("Kim", { listens: "unknown" }),
    reach("Ida", { reach: "nearby", listens: "unknown" }),
    reach("Max", { answered: true, listens: "unknown" }),
  ]);
  expect(texts([all])).toEqual([
    [
      "Max sees your lobby and answered.",
      "Tom can see your lobby.",
      "Ida is on your own network and can see it there.",
      "It reached Kim's computer; whether a program there listens is not known.",
      "It reached Ana's computer, but no program there listens on UDP 6112.",
      "It was sent to Zoë, but not confirmed yet.",
      "Not sent to Ben: no connection.",
    ],
  ]);
});

test("members with whom it went the same share a sentence", () => {
  const none = { listens: "no" as const };
  const all = announce([reach("Tom"), reach("Zoë"), reach("Ana", none), reach("Ben", none), reach("Kim", none)]);
  expect(texts([all])).toEqual([
    [
      "Tom and Zoë can see your lobby.",
      "It reached Ana's, Ben's and Kim's computers, but no program there listens on UDP 6112.",
    ],
  ]);
});

test("where it is the same with all of several members nobody is named", () => {
  const three = (over = {}) => [reach("Tom", over), reach("Zoë", over), reach("Ben", over)];
  expect(texts([announce(three())])).toEqual([["Everyone can see your lobby."]]);
  expect(texts([announce(three({ reach: "unsent" }))])).toEqual([["Not sent to anyone: no connection."]]);
  expect(texts([announce([reach("Tom"), reach("Zoë")])])).toEqual([["Tom and Zoë can see your lobby."]]);
});

test("many names are a few and a number", () => {
  const many = ["Tom", "Zoë", "Ben", "Kim", "Ida"].map((name) => reach(name, { listens: "no" }));
  expect(texts([announce([...many, reach("Ana")])])[0]).toContain(
    "It reached Tom's, Zoë's, Ben's and 2 more computers, but no program there listens on UDP 6112.",
  );
});

test("who has no name yet is somebody, wherever the sentence begins", () => {
  expect(texts([announce([reach("")])])).toEqual([["A new player can see your lobby."]]);
  expect(texts([announce([reach("", { listens: "no" })])])[0]?.[0]).toMatch(/^It reached a new player's computer/);
  expect(texts([announce([reach("tom")])])).toEqual([["tom can see your lobby."]]);
});

test("one program on several interfaces and to several addresses is told once, as the best of it", () => {
  const told = own([
    announce([reach("Tom"), reach("Ben", { reach: "unsent" })]),
    announce([reach("Tom", { listens: "no" }), reach("Ben", { reach: "nearby", listens: "unknown" })], {
      destination: "192.168.1.255",
      interface: "eth0",
    }),
    announce([reach("Tom", { reach: "sent", listens: "unknown" }), reach("Ben", { reach: "unsent" })], {
      destination: "239.1.2.3",
    }),
  ]);
  expect(told.map(({ sentences }) => sentences.map(({ text }) => text))).toEqual([
    ["Tom can see your lobby.", "Ben is on your own network and can see it there."],
  ]);
});

test("a game that looks on several ports is seen where one of them is listened to", () => {
  const to = [27960, 27961, 27962, 27963].map((to_port) =>
    announce([reach("Tom", { listens: to_port === 27961 ? "yes" : "no" }), reach("Ana", { listens: "no" })], {
      port: 27961,
      to_port,
    }),
  );
  expect(texts(to)).toEqual([
    [
      "Tom can see your lobby.",
      "It reached Ana's computer, but no program there listens on UDP 27960–27963.",
    ],
  ]);
});

test("programs that ask from a new port each time are one", () => {
  const asks = [50001, 50002, 50003].map((port) => announce([reach("Tom", { listens: "no" })], { port, to_port: 3979 }));
  expect(texts(asks)).toEqual([["It reached Tom's computer, but no program there listens on UDP 3979."]]);
});

test("several programs are told apart, by their game where a running one has the port", () => {
  const two = [announce([reach("Tom")]), announce([reach("Tom", { listens: "no" })], { port: 50001, to_port: 27960 })];
  const games = [game("Warcraft III", "10.66.0.1:6112"), game("Terraria", "10.66.0.1:7777"), game("Doom", null)];
  expect(own(two, games).map(({ name, ports }) => [name, ports])).toEqual([
    ["Warcraft III", "6112"],
    [null, "27960"],
  ]);
  const doubtful = [game("Warcraft III", "10.66.0.1:6112"), game("StarCraft", "10.66.0.1:6112")];
  expect(own(two, doubtful)[0]?.name).toBeNull();
});

test("what systems say by themselves is no lobby, and nobody to see one is no news", () => {
  expect(own([announce([reach("Tom")], { port: 5353, to_port: 5353 }), announce([])])).toEqual([]);
  expect(friends([heardOf("Tom", { to_port: 1900 })])).toEqual([]);
});

test("friends' lobbies are here, and it is said where no program here waits for them", () => {
  expect(
    friends([
      heardOf("Tom"),
      // The same lobby, to a group that nobody here joined.
      heardOf("Tom", { destination: "239.1.2.3", listens: "no" }),
      heardOf("Zoë", { listens: "unknown" }),
      heardOf("Ana", { port: 3979, to_port: 3979, listens: "no" }),
    ]),
  ).toEqual([
    { told: "here", text: "Tom's and Zoë's lobbies are here (UDP 6112)." },
    {
      told: "waits",
      text: "Ana's lobby is here, but no program of yours listens on UDP 3979. Start the game to see it.",
    },
  ]);
});

test("a friend with two programs is named once", () => {
  expect(friends([heardOf("Tom"), heardOf("Tom", { port: 50001 })]).map(({ text }) => text)).toEqual([
    "Tom's lobby is here (UDP 6112).",
  ]);
});

test("German sentences are sentences", () => {
  speak("de");
  const none = { listens: "no" as const };
  expect(texts([announce([reach("Tom"), reach("Zoë"), reach("Ana", none), reach("Ben", { reach: "unsent" })])])).toEqual([
    [
      "Tom und Zoë können deine Lobby sehen.",
      "Sie kam bei Ana an, aber dort lauscht kein Programm auf UDP 6112.",
      "Nicht an Ben gesendet: keine Verbindung.",
    ],
  ]);
  const many = ["Tom", "Zoë", "Ben", "Kim", "Ida"].map((name) => reach(name, none));
  expect(texts([announce([...many, reach("Ana")])])[0]?.[1]).toMatch(/^Sie kam bei Tom, Zoë, Ben und 2 weiteren an, /);
  expect(friends([heardOf("Tom"), heardOf("Zoë")])[0]?.text).toBe("Die Lobbys von Tom und Zoë sind hier (UDP 6112).");
});

test("ports are a list in order, neighbours a range", () => {
  expect(ports([6112])).toBe("6112");
  expect(ports([27963, 6112, 27960, 27961, 27962, 6112])).toBe("6112, 27960–27963");
});
