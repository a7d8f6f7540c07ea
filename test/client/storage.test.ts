import { expect, test } from "@jest/globals";
import { type RecoverOptions, recover, type StorageArea } from "sluice/client";
import { until } from "../server/live-server.ts";
import { at, claim, greetingOf, joined, type Script, script } from "./scripted-server.ts";

/** As a browser's, for one tab. */
class TabStorage implements StorageArea {
  readonly items = new Map<string, string>();
  getItem(key: string): string | null {
    return this.items.get(key) ?? null;
  }
  setItem(key: string, value: string): void {
    this.items.set(key, value);
  }
}

/** What a page says when it connects, with what the page before it kept. */
async function greetingOfPage(
  { client, peers, peer }: Script,
  storage: RecoverOptions["storage"],
): Promise<unknown> {
  const socket = client();
  const recovery = recover(socket, storage && { storage });
  const index = peers.length;
  socket.connect();
  const greeting = greetingOf(await peer(index));
  recovery.stop();
  socket.disconnect();
  return greeting;
}

test("positions are kept over a reload of the page, for each user and namespace apart", async () => {
  const stage = await script();
  const area = new TabStorage();
  const socket = stage.client();
  const recovery = recover(socket, { storage: { area, user: "ada" } });
  socket.connect();
  const peer = await stage.peer(0);
  peer.emit("sluice.joined", joined("den", "x", 1));
  peer.emit("m", 1, at("den", "x", 2));
  await until(() => [...area.items.values()].some((text) => text.includes('"offset":2')), "it is kept");
  recovery.stop();
  socket.disconnect();

  expect(await greetingOfPage(stage, { area, user: "ada" })).toEqual({
    v: 1,
    positions: [claim("den", "x", 2, 1)],
  });
  expect(await greetingOfPage(stage, { area, user: "bob" })).toEqual({ v: 1, positions: [] });
  expect(await greetingOfPage(stage, undefined)).toEqual({ v: 1, positions: [] });
  const other = stage.client({}, "/other");
  expect(recover(other, { storage: { area, user: "ada" } }).positions).toEqual([]);
  recover(other).stop();
});

test("what is forgotten is not kept either, and what stop finds is kept at once", async () => {
  const stage = await script();
  const area = new TabStorage();
  const socket = stage.client();
  const recovery = recover(socket, { storage: { area, user: "ada" } });
  socket.connect();
  const peer = await stage.peer(0);
  for (const group of ["a", "b"]) peer.emit("sluice.joined", joined(group, "x", 1));
  await until(() => recovery.positions.length === 2, "both have joined");
  recovery.forget("a");
  recovery.stop();
  expect([...area.items.values()]).toEqual([JSON.stringify([claim("b", "x", 1, 1)])]);
});

test("no more than 100 positions are kept", async () => {
  const stage = await script();
  const area = new TabStorage();
  const socket = stage.client();
  const recovery = recover(socket, { storage: { area, user: "ada" } });
  socket.connect();
  const peer = await stage.peer(0);
  for (let i = 0; i < 150; i++) peer.emit("sluice.joined", joined(`g${i}`, "x", 1));
  await until(() => recovery.positions.length === 150, "all have joined");
  recovery.stop();
  const kept = JSON.parse([...area.items.values()][0] ?? "") as { group: string }[];
  expect(kept.map(({ group }) => group)).toEqual(Array.from({ length: 100 }, (_, i) => `g${i + 50}`));
});

test.each(["", "{", "null", "7", '"text"', "[null, 7, {}]", '[{"group":"den","epoch":"x","offset":-1}]'])(
  "a storage with nonsense in it is as good as none: %s",
  async (text) => {
    const stage = await script();
    const area = { getItem: () => text, setItem: () => {} };
    expect(await greetingOfPage(stage, { area, user: "ada" })).toEqual({ v: 1, positions: [] });
  },
);

test("a storage that is full or switched off does no harm", async () => {
  const refuse = () => {
    throw new DOMException("no", "SecurityError");
  };
  const stage = await script();
  const area = { getItem: refuse, setItem: refuse };
  expect(await greetingOfPage(stage, { area, user: "ada" })).toEqual({ v: 1, positions: [] });
});
