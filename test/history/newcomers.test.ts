import { expect, test } from "@jest/globals";
import { Consumer, createApplication, MemoryHistory, route } from "sluice";
import { TestClient } from "sluice/testing";
import { atEnd } from "../server/live-server.ts";

class Counting extends MemoryHistory {
  readings = 0;
  override readBefore(group: string, before: number | undefined, limit: number) {
    this.readings += 1;
    return super.readBefore(group, before, limit);
  }
}

class Room extends Consumer {
  override async connect() {
    await this.groupAdd("room");
  }
}

test("newcomers of a group with presence are given the last messages, which are read once for all of them", async () => {
  const history = new Counting();
  const app = createApplication({
    routes: [route("/room", Room)],
    groups: { room: { history: { size: 20, ttlMs: 60_000, newcomers: 3 }, presence: true } },
    history,
    middleware: [(scope, next) => next({ user: scope.auth.user })],
  });
  await app.start();
  atEnd(() => app.stop());
  let said = 0;
  const say = async () => app.layer.groupEmit("room", "said", ++said);
  const come = async (user: string) => {
    const client = new TestClient(app, "/room", { auth: { user } });
    await expect(client).toBeAccepted();
    return client;
  };
  await say();
  const stays = await come("stays");
  expect(await stays.next("said")).toBe(1);
  for (let round = 0; round < 12; round++) {
    for (let n = 0; n < round % 3; n++) await say();
    const client = await come(`user-${round}`);
    const last = [said - 2, said - 1, said].filter((n) => n > 0);
    for (const n of last) expect(await client.next("said")).toBe(n);
    await say();
    expect(await client.next("said")).toBe(said);
    if (round % 2 === 0) await client.disconnect();
  }
  expect(history.readings).toBe(1);
  history.logs.clear();
  await say();
  await stays.disconnect();
  const anew = await come("anew");
  expect(await anew.next("said")).toBe(said);
  expect(history.readings).toBe(2);
});
