import { expect, test } from "@jest/globals";
import { route } from "sluice";
import { Diary, gate, type RawClient, serve, until } from "./live-server.ts";

test("2,000 clients that vanish while connect is pending leave nothing behind", async () => {
  const diary = new Diary();
  const groups: Promise<void>[] = [];
  class Pending extends diary.Witness {
    override connect() {
      const joined = this.groupAdd(`room.${this.scope.params.room}`);
      groups.push(joined.catch(() => {}));
      return new Promise((resolve) => this.scope.closed.addEventListener("abort", resolve));
    }
  }
  const live = await serve({
    routes: [route("/chat/:room", Pending)],
    limits: { newGroupsPerSecond: 1_000_000 },
  });
  for (let batch = 0; batch < 10; batch++) {
    const clients = await Promise.all(Array.from({ length: 200 }, () => live.raw({ pongs: false })));
    for (const [n, client] of clients.entries()) client.send(`40/chat/${n % 50},`);
    await until(() => diary.made === (batch + 1) * 200, "all are pending");
    for (const [n, client] of clients.entries()) vanish(client, n);
    await until(() => diary.reasons.length === diary.made, "disconnect has run for each");
  }
  await Promise.all(groups);
  await live.empty();
  expect(diary.reasons).toHaveLength(2_000);
  expect(new Set(diary.reasons.map(({ kind }) => kind))).toEqual(new Set(["transport"]));
});

/** Dies at once, says goodbye, or leaves the namespace it is not in yet. */
function vanish(client: RawClient, n: number): void {
  if (n % 3 === 0) client.socket.terminate();
  else if (n % 3 === 1) client.socket.close();
  else client.send(`41/chat/${n % 50},`);
}

test("stock clients that leave between being accepted and being let in leave nothing behind", async () => {
  const diary = new Diary();
  const live = await serve({ routes: [route("/chat/:room", diary.Witness)] });
  for (let batch = 0; batch < 5; batch++) {
    const clients = await Promise.all(Array.from({ length: 40 }, () => live.raw()));
    for (const client of clients) {
      client.send("40/chat/1,");
      client.socket.terminate();
    }
    await until(() => live.server.connections === 0, "all have gone");
  }
  await live.empty();
  expect(diary.reasons).toHaveLength(diary.made);
});

test("a connect hook that is still busy when its client has gone is waited for, then disconnect runs", async () => {
  const diary = new Diary();
  const order: string[] = [];
  const work = gate();
  class Busy extends diary.Witness {
    override async connect() {
      await work.passed;
      await this.groupAdd("late").catch((error: Error) => order.push(`groupAdd: ${error.name}`));
      order.push("connect ends");
    }
    override disconnect() {
      order.push("disconnect");
    }
  }
  const live = await serve({ routes: [route("/busy", Busy)] });
  const raw = await live.raw();
  raw.send("40/busy,");
  await until(() => diary.made === 1, "connect is pending");
  raw.socket.terminate();
  await until(() => live.server.connections === 0, "the server has noticed");
  expect(live.app.sizes).toMatchObject({
    connections: 1,
    channels: 0,
    groups: 0,
    topics: 0,
    logs: 0,
    presence: 0,
  });
  work.open();
  await live.empty();
  expect(order).toEqual(["groupAdd: ConnectionClosed", "connect ends", "disconnect"]);
});

test("a namespace that one enters while another is refused it serves both, and goes with the last", async () => {
  const diary = new Diary();
  const accepted = gate();
  class Slow extends diary.Witness {
    override async connect() {
      await accepted.passed;
      if (this.scope.auth.name === "nobody") this.deny();
    }
  }
  const live = await serve({ routes: [route("/chat/:room", Slow)] });
  const [first, refused, last] = [await live.raw(), await live.raw(), await live.raw()];
  first.send("40/chat/1,");
  refused.send('40/chat/1,{"name":"nobody"}');
  last.send("40/chat/1,");
  await until(() => diary.made === 3, "all are pending");
  // The refusal empties the namespace in Socket.IO's eyes if it comes first.
  accepted.open();
  await refused.hears("44/chat/1,");
  for (const client of [first, last]) {
    await client.hears("40/chat/1,");
    client.send('42/chat/1,1["say"]');
    await client.hears("43/chat/1,1");
    client.socket.close();
    await client.closed;
  }
  refused.socket.close();
  await live.empty();
  expect(diary.reasons).toHaveLength(3);
});
