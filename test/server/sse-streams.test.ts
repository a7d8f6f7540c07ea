import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { connect as connectTcp } from "node:net";
import { expect, test } from "@jest/globals";
import { type Application, createApplication, route, sse } from "sluice";
import { createServer } from "sluice/server";
import { EventStream, openUnread } from "./event-stream.ts";
import { atEnd, connected, Diary, Echo, gate, heard, serve, until } from "./live-server.ts";

const CHUNK = "x".repeat(64 * 1024);

/** Everyone, however connected, is in one group. */
class Hall extends Echo {
  static override readonly groups = ["hall"];
}

test("a stream opens with its key; events, binary as base64, come in order; a socket hears the same", async () => {
  const live = await serve({ routes: [sse("/hall", Hall), route("/hall", Hall)] });
  const stream = await EventStream.open(`${live.url}/hall`);
  const client = await connected(live.client("/hall"));
  expect(stream.status).toBe(200);
  expect(stream.headers.get("content-type")).toBe("text/event-stream");
  expect(stream.headers.get("cache-control")).toContain("no-cache");
  expect(stream.key).toMatch(/^[\w.-]+![\w-]+\.[\w-]{32}$/);

  const last = heard(client, "last");
  const { layer } = live.app;
  await layer.groupEmit("hall", "n", 1);
  await layer.groupEmit("hall", "text", "two\nlines\r\nof \u2028 text");
  await layer.groupEmit("hall", "bytes", { b: Buffer.from("bytes") });
  await layer.groupEmit("hall", "nothing");
  await layer.groupEmit("hall", "last", {});
  await stream.next("last");
  expect(stream.events.slice(1)).toEqual([
    { event: "n", data: 1 },
    { event: "text", data: "two\nlines\r\nof \u2028 text" },
    { event: "bytes", data: { b: Buffer.from("bytes").toString("base64") } },
    { event: "nothing", data: undefined },
    { event: "last", data: {} },
  ]);
  expect(await last).toEqual([{}]);
});

test("events sent before acceptance come after sluice.open", async () => {
  class Early extends Echo {
    override connect() {
      this.send("early", 1);
    }
  }
  const live = await serve({ routes: [sse("/early", Early)] });
  const stream = await EventStream.open(`${live.url}/early`);
  await stream.next("early");
  expect(stream.events.map(({ event }) => event)).toEqual(["sluice.open", "early"]);
});

test.each([
  [4400, 400],
  [4401, 401],
  [4403, 403],
  [4404, 404],
  [4413, 413],
  [4429, 429],
  [4529, 429],
  [4499, 403],
  [4500, 500],
  [4503, 503],
  [4508, 503],
])("deny(%d) is the status %d, with the reason as JSON and nothing sent before it", async (code, status) => {
  const diary = new Diary();
  class Closed extends diary.Witness {
    override connect() {
      this.send("secret", 1);
      this.deny(code, "because");
    }
  }
  const live = await serve({ routes: [sse("/closed", Closed)] });
  const response = await fetch(`${live.url}/closed`);
  expect(response.status).toBe(status);
  expect(await response.json()).toEqual({
    error: { code: "connection_denied", message: "because", closeCode: code },
  });
  expect(await diary.reason()).toEqual({ kind: "denied", code, message: "because" });
  await live.empty();
});

test("connect that throws is 500 without a word about it", async () => {
  class Broken extends Echo {
    override connect() {
      throw new Error("postgres://user:secret@host");
    }
  }
  const live = await serve({ routes: [sse("/broken", Broken)] });
  const response = await fetch(`${live.url}/broken`);
  expect(response.status).toBe(500);
  expect(await response.text()).not.toMatch(/secret|at /);
  await live.empty();
});

test("a stream that its client closes runs disconnect and leaves nothing", async () => {
  const diary = new Diary();
  class Room extends diary.Witness {
    static override readonly groups = ["room"];
  }
  const live = await serve({ routes: [sse("/room", Room)] });
  const stream = await EventStream.open(`${live.url}/room`);
  stream.close();
  expect(await diary.reason()).toMatchObject({ kind: "transport", code: 4001 });
  await live.empty();
});

test("a client that goes while connect is pending runs disconnect and leaves nothing", async () => {
  const diary = new Diary();
  class Pending extends diary.Witness {
    override connect() {
      return new Promise((resolve) => this.scope.closed.addEventListener("abort", resolve));
    }
  }
  const live = await serve({ routes: [sse("/pending", Pending)] });
  const abort = new AbortController();
  const opening = fetch(`${live.url}/pending`, { signal: abort.signal });
  await until(() => diary.made === 1, "connect is pending");
  abort.abort();
  await expect(opening).rejects.toThrow();
  expect((await diary.reason()).kind).toBe("transport");
  await live.empty();
});

test("a request that is handed to Express after its client has gone leaves nothing", async () => {
  const diary = new Diary();
  const http = createHttpServer();
  const app = createApplication({ routes: [sse("/room", diary.Witness)] });
  const server = createServer(app, { server: http });
  const gone = gate();
  http.on("request", (request, response) => {
    // Something of the owner's takes its time, and the client does not wait for it.
    response.once("close", () => {
      setImmediate(() => {
        server.express(request, response);
        setImmediate(gone.open);
      });
    });
  });
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  atEnd(() => http.close());
  atEnd(() => server.stop());
  const { port } = await server.listen();
  const client = connectTcp(port, "127.0.0.1", () => client.write("GET /room HTTP/1.1\r\nHost: x\r\n\r\n"));
  await once(http, "request");
  client.destroy();
  await gone.passed;
  await until(() => app.sizes.connections === 0, "no consumer is left");
  expect(server.connections).toBe(0);
  expect(app).toBeEmpty();
  expect(diary.reasons).toHaveLength(diary.made);
});

test("close tells the stream code and reason, then ends it", async () => {
  const diary = new Diary();
  class Closing extends diary.Witness {
    override receive(): void {
      this.send("last", "words");
      this.close(4410, "because");
    }
  }
  const live = await serve({ routes: [sse("/closing", Closing)] });
  const stream = await EventStream.open(`${live.url}/closing`);
  await stream.post({ event: "go" });
  await until(() => stream.ended, "the stream ends");
  expect(stream.events.slice(1)).toEqual([
    { event: "last", data: "words" },
    { event: "sluice.close", data: { code: 4410, reason: "because" } },
  ]);
  expect(await diary.reason()).toEqual({ kind: "closed", code: 4410, message: "because" });
  await live.empty();
});

test("a stream that is not read is cut with 4513, and the others get all of it", async () => {
  const diary = new Diary();
  class Room extends diary.Witness {
    static override readonly groups = ["room"];
  }
  const live = await serve({ routes: [sse("/room", Room)] });
  const reader = await EventStream.open(`${live.url}/room`);
  await openUnread(live.port, "/room");
  let sent = 0;
  for (; diary.reasons.length === 0 && sent < 2_000; sent++) {
    await live.app.layer.groupEmit("room", "chunk", { n: sent, data: CHUNK });
    if (sent % 4 === 0) await until(() => reader.events.length === sent + 2, "the reader has it all");
  }
  expect(await diary.reason()).toMatchObject({ kind: "limit", code: 4513 });
  await until(() => reader.events.length === sent + 1, "the reader has it all");
  expect(reader.events.slice(1).map(({ data }) => (data as { n: number }).n)).toEqual(
    Array.from({ length: sent }, (_, n) => n),
  );
  expect(live.server.connections).toBe(1);
});

test("a stream that was closed and is not read does no harm, and is gone after a while", async () => {
  const diary = new Diary();
  class Room extends diary.Witness {
    static override readonly groups = ["room"];
    roomShut() {
      this.close(4410, "the room is shut");
    }
  }
  const live = await serve({ routes: [sse("/room", Room)], closeTimeoutMs: 200 }, { pingIntervalMs: 20 });
  // How much it takes to have one cut; with half a MiB less, half a MiB waits in this process.
  await openUnread(live.port, "/room");
  let enough = 0;
  for (; diary.reasons.length === 0; enough++) await sendChunk(live.app);
  await openUnread(live.port, "/room");
  for (let i = 0; i < enough - 8; i++) await sendChunk(live.app);
  await live.app.layer.groupSend("room", { type: "room.shut" });
  await until(() => diary.reasons.length === 2, "it is closed");
  expect(diary.reasons).toMatchObject([{ code: 4513 }, { kind: "closed", code: 4410 }]);
  expect(live.server.connections).toBe(1);
  await live.empty();
});

test("a stream that has nothing to say is kept open by remarks", async () => {
  const live = await serve({ routes: [sse("/hall", Hall)] }, { pingIntervalMs: 10 });
  const response = await fetch(`${live.url}/hall`);
  let text = "";
  for await (const chunk of response.body ?? []) {
    text += Buffer.from(chunk as Uint8Array).toString();
    if (/\n: \n\n: \n\n/.test(text)) break;
  }
  await live.empty();
});

/** Sends 64 KiB and lets the event loop turn, so that the kernel gets what it takes. */
async function sendChunk(app: Application): Promise<void> {
  await app.layer.groupEmit("room", "chunk", CHUNK);
  await new Promise((resolve) => setImmediate(resolve));
}
