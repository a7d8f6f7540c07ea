import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import { connect, type Socket } from "node:net";
import { expect, test } from "@jest/globals";
import { FrontDoor, type Host } from "../../src/processes/front-door.ts";
import { checkConnectionsOf, newSessionId, processOf } from "../../src/server/shared-port.ts";
import { atEnd, until } from "../server/live-server.ts";

/** A host that keeps what it gets. */
class Shelf implements Host {
  readonly heads: string[] = [];
  readonly sockets: Socket[] = [];
  take(socket: Socket, head: Uint8Array): boolean {
    this.heads.push(Buffer.from(head).toString("latin1"));
    this.sockets.push(socket);
    return true;
  }
}

async function door(hostFor: (process: number | undefined) => Host | undefined, firstLineTimeoutMs = 20_000) {
  const front = new FrontDoor({ host: "127.0.0.1", port: 0, firstLineTimeoutMs }, hostFor);
  const { port } = await front.listen();
  atEnd(() => front.close());
  return {
    front,
    async client(): Promise<Socket> {
      const socket = connect(port, "127.0.0.1");
      atEnd(() => socket.destroy());
      socket.on("error", () => {});
      await once(socket, "connect");
      return socket;
    },
  };
}

test("a request goes to the process that its session names, anything else to anyone", async () => {
  const asked: (number | undefined)[] = [];
  const shelf = new Shelf();
  const { client } = await door((process) => {
    asked.push(process);
    return shelf;
  });
  const lines = [
    `GET /socket.io/?EIO=4&sid=${newSessionId(7)()}&transport=polling HTTP/1.1\r\n`,
    "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\n",
    "GET /?mysid=p3-abc HTTP/1.1\r\n",
    "GET / HTTP/1.1\r\nReferer: /?sid=p3-abc\r\n",
    "\r\n\x16\x03\x01\xff",
  ];
  for (const [index, line] of lines.entries()) {
    (await client()).write(line, "latin1");
    await until(() => asked.length === index + 1, "it asks");
  }
  expect(asked).toEqual([7, undefined, undefined, undefined, undefined]);
  expect(shelf.heads).toEqual(lines);
});

test("while a socket is on its way nothing is read from it", async () => {
  const shelf = new Shelf();
  const { client } = await door(() => shelf);
  const socket = await client();
  socket.write("GET / HT");
  await new Promise((resolve) => setImmediate(resolve));
  socket.write("TP/1.1\r\n");
  const taken = await until(() => shelf.sockets[0], "it is handed over");
  await new Promise<void>((resolve) => socket.write("Host: x\r\n\r\n", () => resolve()));
  // Another connection is read from meanwhile.
  (await client()).write("GET /later HTTP/1.1\r\n");
  await until(() => shelf.heads.length === 2, "the other one is handed over");
  expect(shelf.heads[0]).toBe("GET / HTTP/1.1\r\n");
  expect([taken.bytesRead, taken.readableLength]).toEqual([16, 0]);
});

test("who says nothing, or not enough, is closed after a while, and waits for nobody", async () => {
  const shelf = new Shelf();
  const { client } = await door(() => shelf, 50);
  const [silent, slow] = [await client(), await client()];
  slow.write("GET /");
  await Promise.all([silent, slow].map((socket) => new Promise((resolve) => socket.once("close", resolve))));
  expect(shelf.heads).toEqual([]);
});

test("a first line without an end is handed on when it is as long as a head may be", async () => {
  const shelf = new Shelf();
  const { client } = await door(() => shelf);
  (await client()).write(`GET /${"x".repeat(20_000)}`);
  await until(() => shelf.heads.length === 1, "it is handed over");
  expect(shelf.heads[0]?.length).toBeGreaterThanOrEqual(16_384);
});

test("where nobody serves, or all have too much to do, the answer is 503", async () => {
  const full: Host = { take: () => false };
  for (const hostFor of [() => undefined, () => full]) {
    const { client } = await door(hostFor);
    const socket = await client();
    let answer = "";
    socket.on("data", (chunk) => {
      answer += chunk;
    });
    socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await once(socket, "close");
    expect(answer).toMatch(/^HTTP\/1\.1 503 .*\r\nRetry-After: 1\r\n/);
  }
});

test("close ends what is not handed over yet", async () => {
  const { client, front } = await door(() => new Shelf());
  const socket = await client();
  socket.write("GET");
  await new Promise((resolve) => setImmediate(resolve));
  const isClosed = new Promise((resolve) => socket.once("close", resolve));
  front.close();
  await isClosed;
});

test("only a session id of ours in the first line's query names a process", () => {
  expect(processOf("GET /socket.io/?sid=p12-x HTTP/1.1")).toBe(12);
  expect(processOf("GET /socket.io/?a=1&sid=p12-x HTTP/1.1")).toBe(12);
  for (const line of [
    "GET /sid=p12-x",
    "GET /?sid=p-x",
    "GET /?sid=px1-x",
    `GET /?sid=p${"9".repeat(400)}-x`,
    "",
  ]) {
    expect(processOf(line)).toBeUndefined();
  }
  const next = newSessionId(3);
  expect(next()).toMatch(/^p3-[\w-]{20}$/);
  expect(next()).not.toBe(next());
});

test("an HTTP server without a port ends requests that never end, and a connection after its first answer", async () => {
  const http = createServer({ headersTimeout: 50, requestTimeout: 100, connectionsCheckingInterval: 20 });
  http.on("request", (_request, response: ServerResponse) => response.end("x"));
  checkConnectionsOf(http);
  atEnd(() => http.close());
  const shelf = new Shelf();
  const { client } = await door(() => shelf);
  const [slow, whole] = [await client(), await client()] as const;
  slow.write("GET / HTTP/1.1\r\nHost");
  await until(() => shelf.sockets.length === 1, "the slow one is taken");
  whole.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  await until(() => shelf.sockets.length === 2, "the other one is taken");
  const answers: string[] = ["", ""];
  for (const [index, socket] of [slow, whole].entries()) {
    socket.on("data", (chunk) => {
      answers[index] = `${answers[index]}${chunk}`;
    });
    const taken = shelf.sockets[index] as Socket;
    http.emit("connection", taken);
    taken.unshift(Buffer.from(shelf.heads[index] as string));
  }
  await Promise.all([once(slow, "close"), once(whole, "close")]);
  expect(answers[0]).toMatch(/^HTTP\/1\.1 408 /);
  expect(answers[1]).toMatch(/^HTTP\/1\.1 200 .*\r\nConnection: close\r\n/s);
});
