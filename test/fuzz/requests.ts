/** The HTTP layer: raw requests, several in a row on one connection, and whatever is like them. */
import { connect, type Socket } from "node:net";
import type { FuzzedServer } from "./fuzzed-server.ts";
import type { Dice } from "./mutations.ts";

const PER_CONNECTION = 20;
const PATHS = [
  "/livez",
  "/readyz",
  "/items/7",
  "/streams/strict/7",
  "/streams/free/x",
  "/api/groups/all/events",
  "/api/events",
  "/socket.io/?EIO=4&transport=polling",
  "/socket.io/?EIO=4&transport=websocket",
  "/socket.io/socket.io.js.map",
  "/nowhere",
];
const METHODS = ["GET", "POST", "HEAD", "OPTIONS", "DELETE", "PATCH", "get", "PRI", "CONNECT"];
const CONTENT = [
  "application/json",
  "text/plain;charset=UTF-8",
  "application/octet-stream",
  "multipart/form-data",
];

export async function attackRequests(server: FuzzedServer, dice: Dice, cases: number): Promise<number> {
  let sent = 0;
  while (sent < cases) {
    const requests = Array.from({ length: PER_CONNECTION }, () => request(dice, server.publishingKey));
    await send(server.port, requests.join(""), dice);
    sent += requests.length;
  }
  return sent;
}

/** Sends all at once, reads what comes, and leaves in one way or the other. */
export async function send(port: number, bytes: string | Buffer, dice: Dice): Promise<void> {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => {});
  socket.resume();
  await reached(socket, "connect");
  socket.write(bytes, "latin1");
  if (dice.chance(0.5)) socket.end();
  // Streams stay open; silence is answer enough.
  socket.setTimeout(5 + dice.below(10), () =>
    dice.chance(0.5) ? socket.destroy() : socket.resetAndDestroy(),
  );
  await reached(socket, "close");
}

function reached(socket: Socket, event: string): Promise<void> {
  return new Promise((resolve) => {
    socket.once(event, () => resolve());
    socket.once("close", () => resolve());
  });
}

function request(dice: Dice, key: string): string {
  const text = wellFormed(dice, key);
  return dice.chance(0.3) ? dice.scratch(text) : text;
}

function wellFormed(dice: Dice, key: string): string {
  const path = dice.chance(0.6)
    ? dice.one(PATHS)
    : dice.scratch(dice.one(PATHS)).replaceAll(/[\s\u0080-\uffff]/g, "%");
  const method = dice.chance(0.5) ? dice.one(["GET", "POST"]) : dice.one(METHODS);
  const hasBody = method === "POST" || method === "PATCH" || dice.chance(0.1);
  const body = hasBody ? bodyOf(dice) : "";
  const length = dice.chance(0.95) ? Buffer.byteLength(body, "latin1") : dice.below(100);
  const headers = [
    `Host: ${dice.chance(0.9) ? "127.0.0.1" : dice.one(["", "a b", "evil.example", "[::1"])}`,
    ...(dice.chance(0.2)
      ? [`Origin: ${dice.one(["null", "http://evil.example", "http://127.0.0.1", "%"])}`]
      : []),
    ...(dice.chance(0.3) ? [`Authorization: Bearer ${dice.chance(0.7) ? key : "wrong"}`] : []),
    ...(dice.chance(0.3) ? [`Content-Type: ${dice.one(CONTENT)}`] : []),
    ...(dice.chance(0.3) ? [`Sluice-Connection: ${dice.one(["", "n-x!y", "a.b", "%00", "!"])}`] : []),
    ...(dice.chance(0.2) ? [`Last-Event-ID: ${dice.one(["", "1", "{}", "e30", "W3t9XQ", "\u00ff"])}`] : []),
    ...(dice.chance(0.2) ? [`Cookie: ${dice.one(["a=b", "__proto__=1; a", "=;=;", "a=%E0%A4%A"])}`] : []),
    ...(dice.chance(0.1) ? [`X-Forwarded-For: ${dice.one(["1.2.3.4", "::1, , x", ","])}`] : []),
    ...(dice.chance(0.1) ? ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"] : []),
    ...(dice.chance(0.1) ? [`Sec-WebSocket-Key: ${dice.one(["dGhlIHNhbXBsZSBub25jZQ==", "x", ""])}`] : []),
    ...(dice.chance(0.1) ? [`Idempotency-Key: ${dice.one(["k", "é", "a".repeat(200)])}`] : []),
  ];
  const framing =
    hasBody && dice.chance(0.2)
      ? ["Transfer-Encoding: chunked", "", `${body.length.toString(16)}`, body, "0", "", ""]
      : [`Content-Length: ${length}`, "", body];
  const text = [`${method} ${path} HTTP/1.1`, ...headers, ...framing].join("\r\n");
  return Buffer.from(text, "utf8").toString("latin1");
}

function bodyOf(dice: Dice): string {
  const value = dice.one<unknown>([
    { event: "say", payload: { text: "hi" } },
    { event: "order.paid", payload: { order: 42 }, id: "x" },
    { events: [{ group: "all", event: "a", payload: 1 }] },
    { group: "logged", event: "b" },
  ]);
  const text = JSON.stringify(dice.chance(0.7) ? dice.bend(value) : value) ?? "";
  return dice.chance(0.2) ? dice.scratch(text) : text;
}
