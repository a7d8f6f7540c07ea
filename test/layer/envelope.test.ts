import { describe, expect, test } from "@jest/globals";
import { decodeEnvelope, encodeEnvelope, type Header } from "../../src/layer/envelope.ts";

const payload = { json: '{"text":"line\\nbreak"}', attachments: [] };

describe("an envelope", () => {
  test.each<Header>([
    { kind: "emit", event: "chat message" },
    { kind: "emit", event: "x", except: ["n!a", "n!b"] },
    { kind: "send" },
    { kind: "direct", channel: "n!c" },
    { kind: "request", id: 7, verb: "groupAdd" },
    { kind: "reply", id: 7, failed: true },
  ])("carries %j", (header) => {
    const read = decodeEnvelope(encodeEnvelope("n1", header, payload));
    expect(read).toEqual({ from: "n1", header, payload });
  });

  test("carries binary parts", () => {
    const binary = { json: '{"_placeholder":true,"num":0}', attachments: [new Uint8Array([0, 255, 10])] };
    const read = decodeEnvelope(encodeEnvelope("n1", { kind: "send" }, binary));
    expect(read?.payload.attachments).toEqual([Buffer.from([0, 255, 10])]);
  });

  test("of a newer version is read if its kind is known, whatever else is in it", () => {
    const newer = `${JSON.stringify({ v: 9, from: "n9", kind: "send", trace: { id: 1 } })}\n{}`;
    expect(decodeEnvelope(newer)).toEqual({
      from: "n9",
      header: { kind: "send" },
      payload: { json: "{}", attachments: [] },
    });
  });

  test.each([
    "",
    "no line break",
    "{}\n",
    "[]\n{}",
    "null\n{}",
    '{"v":1}\n{}',
    '{"v":1,"from":"n","kind":"unheard-of"}\n{}',
    '{"v":1,"from":"n","kind":"emit"}\n{}',
    '{"v":1,"from":"n","kind":"emit","event":"x","except":[1]}\n{}',
    '{"v":1,"from":"n","kind":"direct"}\n{}',
    '{"v":1,"from":"n","kind":"request","id":"1","verb":"x"}\n{}',
    '{"v":1,"from":"n","kind":"send","binary":"x"}\n{}',
    '{"v":1,"from":"n","kind":"constructor"}\n{}',
  ])("that cannot be read is nothing: %j", (text) => {
    expect(decodeEnvelope(text)).toBeUndefined();
  });
});
