import { describe, expect, test } from "@jest/globals";
import { MessageTooLarge, Unencodable } from "../src/errors.ts";
import { byteLength, decodePayload, deepFreeze, encodePayload, inlineBinary } from "../src/payload.ts";

const MAX = 1_000;
const roundTrip = (value: unknown) => decodePayload(encodePayload(value, MAX));

describe("a payload", () => {
  test.each([[null], [0], [""], ["é😀"], [[1, [2]]], [{ a: { b: [null] } }]])(
    "%j comes back as it was",
    (value) => {
      expect(roundTrip(value)).toEqual(value);
    },
  );

  test("that is absent stays absent", () => {
    expect(encodePayload(undefined, MAX)).toEqual({ json: "", attachments: [] });
    expect(roundTrip(undefined)).toBeUndefined();
  });

  test("keeps binary parts as bytes, wherever they are", () => {
    const bytes = new Uint8Array([1, 2, 3, 4]).subarray(1, 3);
    const back = roundTrip({ image: Buffer.from("png"), list: [bytes, new Uint8Array([9]).buffer] });
    expect(back).toEqual({ image: Buffer.from("png"), list: [Buffer.from([2, 3]), Buffer.from([9])] });
    expect(roundTrip(Buffer.from("x"))).toEqual(Buffer.from("x"));
  });

  test("that looks like a placeholder is no binary part", () => {
    const forged = { _placeholder: true, num: 0 };
    expect(roundTrip(forged)).toEqual(forged);
    expect(roundTrip([{ _placeholder: true, num: 7 }, Buffer.from("x")])).toEqual([
      { _placeholder: true, num: 7 },
      Buffer.from("x"),
    ]);
  });

  test("is text with base64 for clients that take text alone", () => {
    expect(inlineBinary(encodePayload({ image: Buffer.from("png") }, MAX))).toBe('{"image":"cG5n"}');
  });

  test("counts its bytes, not its characters, and has a limit", () => {
    expect(byteLength(encodePayload("é", MAX))).toBe(4);
    expect(() => encodePayload("é".repeat(500), MAX)).toThrow(MessageTooLarge);
    expect(() => encodePayload(Buffer.alloc(1_001), MAX)).toThrow(/at most 1000 bytes/);
  });

  test("that JSON cannot carry is refused in words, never by a crash", () => {
    const circle: Record<string, unknown> = {};
    circle.self = circle;
    for (const bad of [circle, { big: 1n }, () => {}, Symbol("s")]) {
      expect(() => encodePayload(bad, MAX)).toThrow(Unencodable);
    }
  });

  test("is what an object says of itself by toJSON, not its insides", () => {
    const owner = { pets: [] as object[], toJSON: () => "an owner" };
    owner.pets.push({ owner });
    expect(roundTrip({ owner, at: new Date(0) })).toEqual({
      owner: "an owner",
      at: "1970-01-01T00:00:00.000Z",
    });
  });

  test("can be frozen to its depth", () => {
    const frozen = deepFreeze({ a: { b: [1] }, bytes: Buffer.from("x") });
    expect(Object.isFrozen(frozen.a.b)).toBe(true);
    expect(() => frozen.a.b.push(2)).toThrow(TypeError);
  });
});
