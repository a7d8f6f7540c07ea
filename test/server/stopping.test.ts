import { createServer as createHttpServer } from "node:http";
import { connect as connectTcp } from "node:net";
import { expect, test } from "@jest/globals";
import { route, sse } from "sluice";
import { connected, Diary, gate, heard, serve, until } from "./live-server.ts";

test("stop tells every client 4503, runs the hooks and closes the server; once is as good as twice", async () => {
  const diary = new Diary();
  const live = await serve({ routes: [route("/room/:id", diary.Witness)] }, { stopTimeoutMs: 10_000 });
  const clients = await Promise.all(
    Array.from({ length: 20 }, (_, n) =>
      connected(live.client(`/room/${n}`, { transports: [n % 2 === 0 ? "websocket" : "polling"] })),
    ),
  );
  const closings = clients.map((client) => heard(client, "sluice.close"));
  const stops = [live.server.stop(), live.server.stop()];
  expect(await Promise.all(closings)).toEqual(
    clients.map(() => [{ code: 4503, reason: "the server is stopping" }]),
  );
  await Promise.all(stops);
  expect(diary.reasons.map(({ kind }) => kind)).toEqual(clients.map(() => "stopping"));
  expect(live.app).toBeEmpty();
  await expect(fetch(live.url)).rejects.toThrow();
  await live.server.stop();
});

test("stop ends a connection with several namespaces in a way that a stock client returns to all", async () => {
  const live = await serve({ routes: [route("/room/:id", new Diary().Witness)] }, { stopTimeoutMs: 10_000 });
  const one = await connected(live.client("/room/1", { reconnection: true }));
  const two = await connected(one.io.socket("/room/2", {}));
  const gone = Promise.all([heard(one, "disconnect"), heard(two, "disconnect")]);
  const closings = Promise.all([heard(one, "sluice.close"), heard(two, "sluice.close")]);
  await live.server.stop();
  expect(await closings).toMatchObject([[{ code: 4503 }], [{ code: 4503 }]]);
  expect((await gone).map(([reason]) => reason)).toEqual(["transport close", "transport close"]);
  expect([one.active, two.active]).toEqual([true, true]);
});

test("what comes while the server stops is refused", async () => {
  const leaving = gate();
  class Slow extends new Diary().Witness {
    override disconnect() {
      return leaving.passed;
    }
  }
  const live = await serve(
    { routes: [route("/room", Slow), sse("/stream", Slow)] },
    { stopTimeoutMs: 10_000 },
  );
  const raw = await live.raw();
  await connected(live.client("/room"));
  const stopped = live.server.stop();
  raw.send("40/room,");
  await expect(live.raw()).rejects.toThrow();
  expect((await fetch(`${live.url}/socket.io/?EIO=4&transport=polling`)).status).toBe(503);
  expect((await fetch(`${live.url}/stream`)).status).toBe(503);
  leaving.open();
  await stopped;
  // Not a word to the one who knocked: a refusal would keep a stock client away, losing its transport does not.
  await raw.closed;
  expect(raw.received.filter((packet) => /^4[04]/.test(String(packet)))).toEqual([]);
  await expect(fetch(live.url)).rejects.toThrow();
});

test("a client whose connect is pending when the server stops loses its transport, so that it comes back", async () => {
  const diary = new Diary();
  class Pending extends diary.Witness {
    override connect() {
      return new Promise((resolve) => this.scope.closed.addEventListener("abort", resolve));
    }
  }
  const live = await serve({ routes: [route("/room", Pending)] });
  const raw = await live.raw();
  raw.send("40/room,");
  await until(() => diary.made === 1, "connect is pending");
  await live.server.stop();
  await raw.closed;
  expect(await diary.reason()).toMatchObject({ kind: "stopping", code: 4503 });
  expect(raw.received.filter((packet) => /^4[04]/.test(String(packet)))).toEqual([]);
});

test("a disconnect hook that hangs does not hold stop for longer than closeTimeoutMs", async () => {
  class Hanging extends new Diary().Witness {
    override disconnect() {
      return new Promise(() => {});
    }
  }
  const live = await serve({ routes: [route("/room", Hanging)], closeTimeoutMs: 50 });
  await connected(live.client("/room"));
  await live.server.stop();
  expect(live.app).toBeEmpty();
});

test("a client that does not read, and answers no close, holds stop no longer than stopTimeoutMs", async () => {
  const live = await serve({ routes: [route("/room", new Diary().Witness)] }, { stopTimeoutMs: 100 });
  const raw = await live.raw();
  await raw.enter("/room");
  raw.socket.pause();
  const silent = connectTcp(live.port, "127.0.0.1");
  await new Promise((resolve) => silent.once("connect", resolve));
  silent.on("error", () => {});
  const halfway = connectTcp(live.port, "127.0.0.1", () => halfway.write("GET / HTTP/1.1\r\nHost: "));
  halfway.on("error", () => {});
  await live.server.stop();
  raw.socket.terminate();
  silent.destroy();
  halfway.destroy();
});

test("an event stream that its client does not read holds stop no longer than stopTimeoutMs", async () => {
  class Full extends new Diary().Witness {
    static override readonly groups = ["all"];
  }
  const live = await serve({ routes: [sse("/stream", Full)] }, { stopTimeoutMs: 100 });
  const socket = connectTcp(live.port, "127.0.0.1", () => {
    socket.pause();
    socket.write("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
  });
  socket.on("error", () => {});
  await until(() => live.app.layer.groupMembers("all").length === 1, "the stream is open");
  for (let i = 0; i < 14; i++) await live.app.layer.groupEmit("all", "chunk", "x".repeat(65_536));
  await live.server.stop();
  socket.destroy();
});

test("stop leaves an HTTP server of yours open, and its own routes go on", async () => {
  const http = createHttpServer((_request, response) => response.end("mine"));
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const live = await serve({ routes: [route("/room", new Diary().Witness)] }, { server: http });
  const client = await connected(live.client("/room"));
  const gone = heard(client, "disconnect");
  expect(await (await fetch(live.url)).text()).toBe("mine");
  await live.server.stop();
  await gone;
  expect(http.listening).toBe(true);
  expect(await (await fetch(live.url)).text()).toBe("mine");
  const polling = await fetch(`${live.url}/socket.io/?EIO=4&transport=polling`);
  expect(polling.status).toBe(503);
  await expect(live.raw()).rejects.toThrow();
  http.closeAllConnections();
  await new Promise((resolve) => http.close(resolve));
});
