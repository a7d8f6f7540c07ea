/** The demo as it is deployed: three processes of the built program over a real Redis, and one of them killed. */
import { expect } from "@jest/globals";
import { type Presence, presence, recover, type StockSocket } from "sluice/client";
import type { Socket } from "socket.io-client";
import { demo, kill, type Program, start } from "../cli/programs.ts";
import { RedisServer, redisTest } from "../redis/redis-server.ts";
import { atEnd, stock, until } from "../server/live-server.ts";

interface Tab {
  readonly socket: Socket;
  readonly here: Presence<{ readonly name: string }>;
  /** Whom it was told of, once it had the list: `join Ann`, `leave Ann`. */
  readonly told: string[];
}

/** A tab as public/js/room.js is one: it recovers, and knows who is here. */
async function openTab(url: string, name: string): Promise<Tab> {
  const secret = `what only ${name}'s browser knows`;
  const socket = stock(`${url}/chat/den`, { auth: { name, secret }, autoConnect: false });
  recover(socket as StockSocket);
  const here = presence<{ readonly name: string }>(socket as StockSocket, "chat.den");
  const told: string[] = [];
  for (const event of ["join", "leave", "update"] as const) {
    here.on(event, ({ info }) => told.push(`${event} ${info.name}`));
  }
  socket.connect();
  await until(() => here.isCurrent, `${name} has the list`);
  return { socket, here, told };
}

function names({ here }: Tab): string[] {
  return [...here.users.values()].map(({ name }) => name).sort();
}

async function allSee(tabs: readonly Tab[], expected: readonly string[]): Promise<void> {
  const isSeen = (tab: Tab) => names(tab).join() === expected.join();
  await until(() => tabs.every(isSeen), `all tabs show ${expected.join()}`).catch((error: Error) => {
    throw new Error(`${error.message}, not ${JSON.stringify(tabs.map(names))}`);
  });
}

redisTest(
  "two tabs each on three nodes: the list is right everywhere, also when a node is killed",
  async () => {
    const redis = await RedisServer.start();
    atEnd(() => redis.close());
    const env = { REDIS_URL: redis.url, SLUICE_SECRET: "a secret that all nodes of the test share" };
    const nodes = [1, 2, 3].map(() => start(demo(), [], { env }));
    const [one, two, three] = (await Promise.all(nodes.map((node) => node.url()))) as [
      string,
      string,
      string,
    ];
    const lobby = stock(`${two}/lobby`);
    let rooms = "";
    lobby.on("rooms", (shown) => {
      rooms = JSON.stringify(shown.rooms);
    });

    const ann = [await openTab(one, "Ann"), await openTab(one, "Ann")];
    const bob = [await openTab(two, "Bob"), await openTab(two, "Bob")];
    const cid = [await openTab(three, "Cid"), await openTab(three, "Cid")];
    // One whose tabs are on two nodes.
    const dan = [await openTab(one, "Dan"), await openTab(three, "Dan")];
    const remaining = [...ann, ...bob, ...dan.slice(0, 1)];
    await allSee([...remaining, ...cid, ...dan], ["Ann", "Bob", "Cid", "Dan"]);
    await until(() => rooms === '[{"name":"den","people":4}]', "the lobby counts four people");

    kill((nodes[2] as Program).child.pid as number, "SIGKILL");
    await allSee(remaining, ["Ann", "Bob", "Dan"]);
    await until(() => rooms === '[{"name":"den","people":3}]', "the lobby counts three people");

    // Who comes now, and a message after that: whatever was told twice has come by then.
    const eve = await openTab(two, "Eve");
    await allSee([...remaining, eve], ["Ann", "Bob", "Dan", "Eve"]);
    const last = remaining.map(({ socket }) => new Promise((resolve) => socket.once("message", resolve)));
    await eve.socket.emitWithAck("say", { text: "who is here?" });
    await Promise.all(last);
    for (const { told } of remaining) {
      expect(told.filter((what) => what === "leave Cid")).toHaveLength(1);
      expect(told.filter((what) => what.endsWith("Eve"))).toEqual(["join Eve"]);
      expect(told.filter((what) => what === "leave Dan" || what.startsWith("update"))).toEqual([]);
      expect(new Set(told).size).toBe(told.length);
    }
  },
);

redisTest("who is on the killed node and comes back elsewhere at once has never left", async () => {
  const redis = await RedisServer.start();
  atEnd(() => redis.close());
  const env = { REDIS_URL: redis.url, SLUICE_SECRET: "a secret that all nodes of the test share" };
  const nodes = [1, 2].map(() => start(demo(), [], { env }));
  const [one, two] = (await Promise.all(nodes.map((node) => node.url()))) as [string, string];
  const ann = await openTab(one, "Ann");
  await openTab(two, "Bob");
  await openTab(two, "Cid");
  await allSee([ann], ["Ann", "Bob", "Cid"]);
  kill((nodes[1] as Program).child.pid as number, "SIGKILL");
  const bob = await openTab(one, "Bob");
  await allSee([ann, bob], ["Ann", "Bob"]);
  expect(ann.told).toEqual(["join Bob", "join Cid", "leave Cid"]);
  expect(bob.told).toEqual(["leave Cid"]);
});
