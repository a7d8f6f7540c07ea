/** The WebSocket layer: frames as no library would send them. */
import { connect } from "node:net";
import type { FuzzedServer } from "./fuzzed-server.ts";
import type { Dice } from "./mutations.ts";
import { packets } from "./packets.ts";

const PER_CONNECTION = 12;
const OPENING = [
  "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1",
  "Host: 127.0.0.1",
  "Upgrade: websocket",
  "Connection: Upgrade",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
  "",
  "",
].join("\r\n");

export async function attackFrames(server: FuzzedServer, dice: Dice, cases: number): Promise<number> {
  let sent = 0;
  while (sent < cases) {
    const socket = connect(server.port, "127.0.0.1");
    let isOpen = true;
    socket.on("error", () => {});
    const closed = new Promise<void>((resolve) => {
      socket.once("close", () => {
        isOpen = false;
        resolve();
      });
    });
    const upgraded = new Promise<void>((resolve) => void socket.once("data", () => resolve()));
    socket.write(OPENING);
    await Promise.race([upgraded, closed]);
    socket.resume();
    socket.write(frame(Buffer.from("40/strict/7,"), { opcode: 1 }));
    for (let i = 0; i < PER_CONNECTION && isOpen; i += 1) {
      socket.write(Buffer.concat(packets(dice).map((packet) => bent(dice, packet))));
      sent += 1;
      if (dice.chance(0.3)) await new Promise((resolve) => setImmediate(resolve));
    }
    if (dice.chance(0.5)) socket.resetAndDestroy();
    else {
      socket.end();
      // One that never closes by itself is pulled.
      socket.setTimeout(10, () => socket.destroy());
    }
    await closed;
  }
  return sent;
}

interface Bits {
  readonly opcode: number;
  readonly isFinal?: boolean;
  readonly reserved?: number;
  readonly isMasked?: boolean;
  /** What the header says; by default the truth. */
  readonly length?: number;
}

function bent(dice: Dice, packet: string | Buffer): Buffer {
  const payload = Buffer.from(packet);
  const opcode = typeof packet === "string" ? 1 : 2;
  return dice.act([
    [20, () => frame(payload, { opcode })],
    [2, () => frame(payload, { opcode: dice.below(16) })],
    [1, () => frame(payload, { opcode, reserved: 1 + dice.below(7) })],
    [1, () => frame(payload, { opcode, isMasked: false })],
    [1, () => frame(payload, { opcode, length: dice.one([0, 125, 126, 65_535, 2 ** 31, 2 ** 52]) })],
    [2, () => dice.scratchBytes(frame(payload, { opcode }))],
    [1, () => frame(dice.bytes(125), { opcode: dice.one([8, 9, 10]) })],
    [1, () => frame(Buffer.from([0xc3, 0x28]), { opcode: 1 })],
    [2, () => pieces(dice, payload, opcode)],
  ]);
}

/** One message in several frames, with a ping between them perhaps. */
function pieces(dice: Dice, payload: Buffer, opcode: number): Buffer {
  const at = dice.below(payload.length + 1);
  return Buffer.concat([
    frame(payload.subarray(0, at), { opcode, isFinal: false }),
    ...(dice.chance(0.5) ? [frame(Buffer.from("ping"), { opcode: 9 })] : []),
    frame(payload.subarray(at), { opcode: dice.chance(0.9) ? 0 : opcode, isFinal: dice.chance(0.9) }),
  ]);
}

function frame(
  payload: Buffer,
  { opcode, isFinal = true, reserved = 0, isMasked = true, length = payload.length }: Bits,
) {
  const mask = Buffer.from([1, 2, 3, 4]);
  const mark = isMasked ? 0x80 : 0;
  const head = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10);
  head[0] = (isFinal ? 0x80 : 0) | (reserved << 4) | opcode;
  if (length < 126) head[1] = mark | length;
  else if (length < 65_536) {
    head[1] = mark | 126;
    head.writeUInt16BE(length, 2);
  } else {
    head[1] = mark | 127;
    head.writeBigUInt64BE(BigInt(length), 2);
  }
  if (!isMasked) return Buffer.concat([head, payload]);
  return Buffer.concat([head, mask, payload.map((byte, i) => byte ^ (mask[i % 4] as number))]);
}
