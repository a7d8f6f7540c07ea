/** The Socket.IO layer: packets in whole frames, with attachments and without, right and wrong. */
import { WebSocket } from "ws";
import type { FuzzedServer } from "./fuzzed-server.ts";
import type { Dice } from "./mutations.ts";

const PER_CONNECTION = 40;
const NAMESPACES = [
  "/strict/7",
  "/strict/7",
  "/strict/7",
  "/free/x",
  "/free/%00",
  "/picky/a/b",
  "/",
  "/nowhere",
  "/strict/1e3",
];

/** An event that is right, or one that is a little wrong, as name and payload. */
export function event(dice: Dice): [unknown, unknown?] {
  const right = dice.act<[string, unknown?]>([
    [4, () => ["say", { text: "hi", n: dice.below(11) }]],
    [2, () => ["file", { name: "a", data: dice.bytes(20) }]],
    [1, () => ["tags", ["a", "b"]]],
    [1, () => ["count", { by: 1.5 }]],
    [1, () => ["none"]],
    [1, () => ["sluice.history", { group: "logged", limit: 5, before: 9 }]],
    [
      0.5,
      () => [dice.one(["sluice.close", "disconnecting", "open", "constructor", "connect", "allCounted"]), 1],
    ],
  ]);
  if (dice.chance(0.3)) return right;
  const [name, payload] = right;
  return dice.chance(0.9)
    ? [name, dice.bend(payload)]
    : [dice.chance(0.5) ? dice.text() : dice.value(1), payload];
}

/** One Socket.IO packet over Engine.IO: its text, then its attachments. */
export function packets(dice: Dice): (string | Buffer)[] {
  const namespace = dice.chance(0.9) ? dice.one(NAMESPACES.slice(0, 4)) : dice.one(NAMESPACES);
  const made = dice.act([
    [14, () => eventPackets(dice, namespace)],
    [1, () => [`40${namespace},${dice.chance(0.5) ? json(dice.value(2)) : '{"name":"ann","logged":true}'}`]],
    [0.3, () => [`41${namespace},`]],
    [1, () => [`43${namespace},${dice.below(10)}${json([dice.value(2)])}`]],
    [0.3, () => [`4${dice.below(10)}${namespace},${json(dice.value(1))}`]],
    [0.3, () => [dice.one(["2", "3", "5", "6", "2probe", "3probe", "", "9", "0{}"])]],
    [0.2, () => [dice.bytes(30)]],
  ]);
  // What is not JSON at all ends the connection, and with it all that comes after.
  return dice.chance(0.03)
    ? made.map((part) => (typeof part === "string" ? dice.scratch(part) : part))
    : made;
}

function eventPackets(dice: Dice, namespace: string): (string | Buffer)[] {
  const attachments: Buffer[] = [];
  const text = json(event(dice), (_name, value: unknown) => {
    if (!isBytes(value)) return value;
    attachments.push(Buffer.from(value.data));
    return { _placeholder: true, num: attachments.length - 1 };
  });
  const id = dice.chance(0.6) ? String(dice.below(1_000)) : "";
  if (attachments.length === 0 && dice.chance(0.98)) return [`42${namespace},${id}${text}`];
  const count = dice.chance(0.95) ? attachments.length : dice.below(4);
  return [
    `45${count}-${namespace},${id}${text}`,
    ...attachments.slice(0, dice.chance(0.97) ? attachments.length : 0),
  ];
}

/** As `JSON.stringify` sees a Buffer. */
function isBytes(value: unknown): value is { readonly data: readonly number[] } {
  const { type, data } = (value ?? {}) as { readonly type?: unknown; readonly data?: unknown };
  return type === "Buffer" && Array.isArray(data);
}

function json(value: unknown, replace?: (name: string, value: unknown) => unknown): string {
  return JSON.stringify(value, replace) ?? "";
}

export async function attackPackets(server: FuzzedServer, dice: Dice, cases: number): Promise<number> {
  let sent = 0;
  while (sent < cases) {
    const socket = new WebSocket(`${server.url.replace("http", "ws")}/socket.io/?EIO=4&transport=websocket`);
    socket.on("error", () => {});
    const closed = new Promise<void>((resolve) => void socket.once("close", () => resolve()));
    const opened = new Promise<void>((resolve) => void socket.once("open", () => resolve()));
    await Promise.race([opened, closed]);
    for (const namespace of ["/strict/7", "/free/x"])
      socket.send(`40${namespace},{"logged":${dice.chance(0.3)}}`);
    await Promise.race([answered(socket, (packet) => packet.startsWith("40/free/x")), closed]);
    const batch = PER_CONNECTION - dice.below(10);
    for (let i = 0; i < batch && socket.readyState === WebSocket.OPEN; i += 1) {
      for (const packet of packets(dice)) socket.send(packet);
      sent += 1;
      if (dice.chance(0.05)) await new Promise((resolve) => setImmediate(resolve));
    }
    // What was sent last is answered, or the connection is over: nothing hangs between.
    if (dice.chance(0.8)) {
      const synced = answered(
        socket,
        (packet) => packet.startsWith("43/free/x,4242") || packet.startsWith("44/free/x"),
      );
      if (socket.readyState === WebSocket.OPEN) {
        socket.send("40/free/x,");
        socket.send('42/free/x,4242["sync"]');
      }
      await Promise.race([synced, closed]);
    }
    if (dice.chance(0.5)) socket.terminate();
    else socket.close();
    await closed;
  }
  return sent;
}

function answered(socket: WebSocket, is: (packet: string) => boolean): Promise<void> {
  return new Promise((resolve) => {
    socket.on("message", (data, isBinary) => {
      if (!isBinary && is(String(data))) resolve();
    });
  });
}
