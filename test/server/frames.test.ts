import { createRequire } from "node:module";
import { expect, test } from "@jest/globals";
import type { Encoder as StockEncoder } from "socket.io-parser";
import { encodePayload } from "../../src/payload.ts";
import { webSocketFrame } from "../../src/server/engine-internals.ts";
import { SocketCodec } from "../../src/server/frames.ts";

// The one that socket.io itself uses; it is no dependency of ours.
const require = createRequire(createRequire(import.meta.url).resolve("socket.io"));
const { Encoder } = require("socket.io-parser") as { Encoder: new () => StockEncoder };

const bytes = Buffer.from([0, 1, 2, 255]);
const payloads: readonly [string, unknown][] = [
  ["nothing", undefined],
  ["null", null],
  ["text", 'with "quotes", \u2028, \u0000 and 😀'],
  ["a number", -1.5e300],
  ["a list", [1, [2, [3]]]],
  ["an object", { a: 1, b: { c: undefined, d: new Date(0) } }],
  ["bytes", bytes],
  ["no bytes", Buffer.alloc(0)],
  ["a view of bytes", new Uint8Array(bytes.buffer, bytes.byteOffset + 1, 2)],
  ["bytes in an object", { a: bytes, b: [Buffer.from("x"), "text"], c: { d: bytes } }],
];

for (const namespace of ["/", "/chat/lobby", "/a-b_c"]) {
  test.each(payloads)(
    `in ${namespace} an event with %s is the packet that socket.io makes`,
    (_what, payload) => {
      for (const event of ["message", 'a "b"', "naïve €"]) {
        const data = payload === undefined ? [event] : [event, payload];
        const [text, ...attachments] = new Encoder().encode({ type: 2, nsp: namespace, data } as never);
        const frame = new SocketCodec(namespace, false).encode({
          event,
          ...encodePayload(payload, 1_000_000),
        });
        expect(frame.parts[0]).toBe(text);
        expect(frame.parts.slice(1).map((part) => Buffer.from(part as Buffer))).toEqual(
          attachments.map((part) => Buffer.from(part as unknown as Uint8Array)),
        );
        expect(frame.options.wsPreEncodedFrame).toEqual(
          attachments.length === 0 ? [webSocketFrame(String(text))] : undefined,
        );
      }
    },
  );
}

test.each(payloads)("an answer of %s is the packet that socket.io makes", (_what, answer) => {
  for (const namespace of ["/", "/chat/lobby"]) {
    const packet = { type: 3, nsp: namespace, id: 12, data: [answer] };
    const [text, ...attachments] = new Encoder().encode(packet as never);
    const { parts } = new SocketCodec(namespace, true).answer(12, answer);
    expect(parts[0]).toBe(text);
    expect(parts.slice(1).map((part) => Buffer.from(part as Buffer))).toEqual(
      attachments.map((part) => Buffer.from(part as unknown as Uint8Array)),
    );
  }
});

test("a client that carries positions gets them beside the payload, and is told where there is none", () => {
  const codec = new SocketCodec("/room", true);
  const position = ["den", "x1", 7, "a9"] as const;
  const packet = (payload?: unknown) =>
    codec.encode({ event: "e", ...encodePayload(payload, 1_000), position }).parts[0];
  expect(packet(1)).toBe('2/room,["e",1,{"sluice":["den","x1",7,"a9"]}]');
  expect(packet(null)).toBe('2/room,["e",null,{"sluice":["den","x1",7,"a9"]}]');
  expect(packet()).toBe('2/room,["e",null,{"sluice":["den","x1",7,"a9"],"bare":true}]');
});

test("a frame counts at least the bytes that wait for the client", () => {
  const codec = new SocketCodec("/room", false);
  for (const [, payload] of payloads) {
    const { bytes: counted, parts } = codec.encode({ event: "e", ...encodePayload(payload, 1_000_000) });
    const sent = parts.reduce((sum, part) => sum + Buffer.byteLength(part), 0);
    expect(counted).toBeGreaterThanOrEqual(sent - 8);
  }
});
