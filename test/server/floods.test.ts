import { connect as connectTcp } from "node:net";
import { expect, test } from "@jest/globals";
import { route } from "sluice";
import { connected, Diary, Echo, heard, serve, until } from "./live-server.ts";

const MIB = 1024 * 1024;

test("10 MB on a WebSocket are cut with 1009, and nobody else notices", async () => {
  const diary = new Diary();
  const live = await serve({ routes: [route("/echo", diary.Witness), route("/calm", Echo)] });
  const calm = await connected(live.client("/calm"));
  const raw = await live.raw();
  await raw.enter("/echo");
  const before = process.memoryUsage();
  raw.send(`42/echo,["say","${"x".repeat(10 * MIB)}"]`);
  expect(await raw.closed).toMatchObject({ code: 1009 });
  expect((await diary.reason()).kind).toBe("transport");
  expect(grownSince(before)).toBeLessThan(100 * MIB);
  expect(await calm.emitWithAck("say", 1)).toEqual({ event: "say", payload: 1 });
});

test("10 MB in fragments of a WebSocket message are cut with 1009 too", async () => {
  const live = await serve({ routes: [route("/echo", Echo)] });
  const raw = await live.raw();
  await raw.enter("/echo");
  for (let i = 0; i < 160; i++) raw.socket.send("x".repeat(65_536), { fin: false });
  expect(await raw.closed).toMatchObject({ code: 1009 });
  await live.empty();
});

test("10 MB in a polling request are refused with 413, whether announced or not", async () => {
  const live = await serve({ routes: [route("/echo", Echo)] });
  const before = process.memoryUsage();
  for (const chunked of [false, true]) {
    const opening = await (await fetch(`${live.url}/socket.io/?EIO=4&transport=polling`)).text();
    const { sid } = JSON.parse(opening.slice(1)) as { sid: string };
    const url = new URL(`${live.url}/socket.io/?EIO=4&transport=polling&sid=${sid}`);
    const answer = await postSlowly(url, 10 * MIB, chunked);
    expect(answer).toMatch(/^HTTP\/1.1 413 /);
  }
  expect(grownSince(before)).toBeLessThan(100 * MIB);
});

test("10,000 events at once are rate_limited and then cut with 4429; others keep their answers", async () => {
  const diary = new Diary();
  const live = await serve({ routes: [route("/echo", diary.Witness), route("/calm", Echo)] });
  const calm = await connected(live.client("/calm"));
  const flooder = await connected(live.client("/echo", { reconnection: true }));
  let handled = 0;
  let limited = 0;
  const closing = heard(flooder, "sluice.close");
  const gone = heard(flooder, "disconnect");
  for (let i = 0; i < 10_000; i++) {
    flooder.emit("say", i, (answer: { error?: { code: string } }) => {
      if (answer.error === undefined) handled += 1;
      else if (answer.error.code === "rate_limited") limited += 1;
    });
  }
  for (let i = 0; i < 20; i++) {
    expect(await calm.emitWithAck("say", i)).toEqual({ event: "say", payload: i });
  }
  expect(await closing).toEqual([{ code: 4429, reason: "too many events" }]);
  expect((await gone)[0]).toBe("io server disconnect");
  expect(await diary.reason()).toMatchObject({ kind: "limit", code: 4429 });
  expect(limited).toBeGreaterThanOrEqual(1_000);
  expect(handled).toBeLessThan(2_000);
  await until(() => live.app.sizes.connections === 1, "the flooder stays away");
  expect(flooder.connected).toBe(false);
});

test("answers that nobody asked for count as events; those to questions do not", async () => {
  class Asking extends Echo {
    override async receive(_event: string, times: unknown): Promise<unknown> {
      for (let i = 0; i < Number(times); i++) await this.ask("again", i);
      return "asked";
    }
  }
  const live = await serve({
    routes: [route("/echo", Asking)],
    limits: { eventsPerSecond: 1, floodEvents: 2 },
  });
  const client = await connected(live.client("/echo"));
  client.on("again", (_number: number, answer: () => void) => answer());
  expect(await client.emitWithAck("ask", 20)).toBe("asked");
  for (const packet of ["43/echo,1[]", '461-/echo,1[{"_placeholder":true,"num":0}]']) {
    const raw = await live.raw();
    await raw.enter("/echo");
    for (let i = 0; i < 10; i++) {
      raw.send(packet);
      if (packet.startsWith("46")) raw.send(Buffer.from("x"));
    }
    expect(await raw.hears('42/echo,["sluice.close"')).toContain('"code":4429');
  }
});

test("a client that stops before it is cut is heard again", async () => {
  const live = await serve({
    routes: [route("/echo", Echo)],
    limits: { eventsPerSecond: 1_000, floodEvents: 100_000 },
  });
  const client = await connected(live.client("/echo"));
  const answers = await Promise.all(Array.from({ length: 3_000 }, () => client.emitWithAck("say")));
  expect(answers.some((answer: { error?: unknown }) => answer.error !== undefined)).toBe(true);
  let answer: { error?: { code: string } } = {};
  do answer = await client.emitWithAck("say");
  while (answer.error?.code === "rate_limited");
  expect(answer).toEqual({ event: "say" });
});

test("the allowance of events is the connection's, over all its routes", async () => {
  const live = await serve({
    routes: [route("/a", Echo), route("/b", Echo)],
    limits: { eventsPerSecond: 1, floodEvents: 2 },
  });
  const raw = await live.raw();
  await raw.enter("/a");
  await raw.enter("/b");
  for (let i = 0; i < 3; i++) raw.send(`42/a,${i}["say"]`);
  expect(await raw.hears('42/a,["sluice.close"')).toContain('"code":4429');
  raw.send('42/b,9["say"]');
  expect(await raw.hears('42/b,["sluice.close"')).toContain('"code":4429');
});

test("1,000 CONNECTs to unknown namespaces are refused quietly and leave nothing", async () => {
  const live = await serve({ routes: [route("/calm", Echo)] });
  const calm = await connected(live.client("/calm"));
  const raw = await live.raw();
  for (let i = 0; i < 1_000; i++) raw.send(`40/nowhere/${i},`);
  expect(await raw.hears("44/nowhere/999,")).toBe('44/nowhere/999,{"message":"Invalid namespace"}');
  expect(await calm.emitWithAck("say", 1)).toEqual({ event: "say", payload: 1 });
  calm.disconnect();
  raw.socket.close();
  await live.empty();
});

test.each(["/nowhere/", "/room/"])("a flood of CONNECTs to %s ends the connection", async (path) => {
  const live = await serve({ routes: [route("/room/:id", Echo), route("/calm", Echo)] });
  const denied: string[] = [];
  live.app.signals.denied.connect(({ remoteAddress }) => denied.push(remoteAddress));
  const calm = await connected(live.client("/calm"));
  const raw = await live.raw();
  await raw.enter("/room/mine");
  for (let i = 0; i < 5_000; i++) raw.send(`40${path}${i},`);
  expect(await raw.hears('42/room/mine,["sluice.close"')).toContain('"code":4429');
  await raw.closed;
  if (path === "/nowhere/") expect(new Set(denied)).toEqual(new Set(["127.0.0.1"]));
  expect(await calm.emitWithAck("say", 1)).toEqual({ event: "say", payload: 1 });
  calm.disconnect();
  await live.empty();
});

test("CONNECTs to more namespaces than a connection may open are rate limited", async () => {
  const diary = new Diary();
  const live = await serve(
    { routes: [route("/room/:id", diary.Witness)] },
    { limits: { namespacesPerConnection: 3 } },
  );
  const raw = await live.raw();
  for (let i = 0; i < 100; i++) raw.send(`40/room/${i},`);
  expect(await raw.hears("44/room/99,")).toContain('"code":4529');
  expect(diary.made).toBe(3);
  raw.socket.close();
  await live.empty();
  expect(diary.reasons).toHaveLength(3);
});

test("a client that enters and leaves in a loop spends its allowance of events", async () => {
  const live = await serve({ routes: [route("/echo", Echo)], limits: { eventsPerSecond: 5 } });
  const raw = await live.raw();
  for (let i = 0; i < 10; i++) {
    await raw.enter("/echo");
    raw.received.length = 0;
    raw.send("41/echo,");
    await until(() => live.app.sizes.connections === 0, "it has left");
  }
  raw.send("40/echo,");
  expect(await raw.hears("44/echo,")).toContain('"code":4529');
});

function grownSince(before: NodeJS.MemoryUsage): number {
  const now = process.memoryUsage();
  return Math.max(now.rss - before.rss, now.external - before.external);
}

/** Posts over TCP, piece by piece as the server takes it; what it answers is returned. */
function postSlowly(url: URL, bytes: number, chunked: boolean): Promise<string> {
  return new Promise((resolve) => {
    const socket = connectTcp(Number(url.port), url.hostname);
    const length = chunked ? "Transfer-Encoding: chunked" : `Content-Length: ${bytes}`;
    const head = `POST ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${url.host}\r\n`;
    socket.write(`${head}Content-Type: text/plain\r\nConnection: close\r\n${length}\r\n\r\n`);
    const piece = "x".repeat(65_536);
    let left = bytes;
    const feed = () => {
      while (left > 0 && !socket.destroyed) {
        left -= piece.length;
        if (!socket.write(chunked ? `10000\r\n${piece}\r\n` : piece)) return;
      }
    };
    let answer = "";
    socket.on("drain", feed).on("error", () => {});
    socket.on("data", (data) => {
      answer += String(data);
      if (answer.includes("\r\n\r\n")) socket.destroy();
    });
    socket.once("close", () => resolve(answer));
    feed();
  });
}
