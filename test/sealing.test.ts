import { describe, expect, test } from "@jest/globals";
import { ConfigurationError } from "sluice";
import { isSealed, Sealer, Unopened } from "../src/sealing.ts";
import { seeded } from "./seeded.ts";
import { KEYS } from "./some-keys.ts";

const [OLD, NEW, OTHER] = KEYS;
const PLACE = ["backplane", "sluice", "group.chat"];

function reasonOf(open: () => unknown): string | undefined {
  try {
    open();
    return undefined;
  } catch (error) {
    expect(error).toBeInstanceOf(Unopened);
    return (error as Unopened).reason;
  }
}

/** The same with one bit turned. */
function changed(sealed: string, at: number): string {
  const bytes = Buffer.from(sealed.slice(2), "base64");
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  return sealed.slice(0, 2) + bytes.toString("base64");
}

describe.each(["seal", "sealSame"] as const)("what %s made", (seal) => {
  test.each(["", "x", '{"a":"ü🙂"}\n"line"', "y".repeat(300_000)])("opens as it was", (text) => {
    const sealed = new Sealer([OLD])[seal](text, PLACE);
    expect(isSealed(sealed)).toBe(true);
    expect(sealed).not.toContain("\n");
    expect(new Sealer([OLD]).open(sealed, PLACE)).toBe(text);
  });

  test("opens by any key of the list, and is made by the first", () => {
    const before = new Sealer([OLD])[seal]("text", PLACE);
    const after = new Sealer([NEW, OLD])[seal]("text", PLACE);
    expect(new Sealer([NEW, OLD]).open(before, PLACE)).toBe("text");
    expect(new Sealer([OLD, NEW]).open(after, PLACE)).toBe("text");
    expect(reasonOf(() => new Sealer([NEW]).open(before, PLACE))).toBe("unknown-key");
    expect(reasonOf(() => new Sealer([OLD]).open(after, PLACE))).toBe("unknown-key");
  });

  test("opens nowhere else", () => {
    const sealed = new Sealer([OLD])[seal]("text", PLACE);
    for (const place of [
      ["backplane", "sluice", "group.other"],
      ["backplane", "other", "group.chat"],
      ["history", "sluice", "group.chat"],
      ["backplane", "sluice", "group.chat", ""],
      ["backplane", "sluicegroup.chat"],
    ]) {
      expect(reasonOf(() => new Sealer([OLD]).open(sealed, place))).toBe("altered");
    }
  });

  test("does not open with any bit turned, nor cut off anywhere", () => {
    const sealer = new Sealer([OLD, OTHER]);
    const sealed = sealer[seal]("text", PLACE);
    const bytes = Buffer.from(sealed.slice(2), "base64");
    for (let at = 0; at < bytes.length; at++) {
      const reason = at < 4 ? "unknown-key" : "altered";
      expect([at, reasonOf(() => sealer.open(changed(sealed, at), PLACE))]).toEqual([at, reason]);
    }
    for (let length = 0; length < bytes.length; length++) {
      const cut = sealed.slice(0, 2) + bytes.subarray(0, length).toString("base64");
      expect(reasonOf(() => sealer.open(cut, PLACE))).toBe("altered");
    }
  });
});

test("never twice the same, but by sealSame, whoever does it", () => {
  const one = new Sealer([OLD]);
  const many = Array.from({ length: 1_000 }, () => one.seal("text", PLACE));
  expect(new Set(many).size).toBe(1_000);
  expect(one.sealSame("text", PLACE)).toBe(new Sealer([OLD]).sealSame("text", PLACE));
  expect(one.sealSame("text", PLACE)).not.toBe(one.sealSame("text.", PLACE));
  expect(one.sealSame("text", PLACE)).not.toBe(one.sealSame("text", [...PLACE, "x"]));
  // Two that share a nonce would give away the key of their tags.
  const nonceOf = (place: readonly string[]) =>
    Buffer.from(one.sealSame("text", place).slice(2), "base64").subarray(4, 16).toString("hex");
  expect(nonceOf(PLACE)).not.toBe(nonceOf([...PLACE, "x"]));
});

test("texts of more processes than are remembered are opened all the same", () => {
  const sealed = Array.from({ length: 1_100 }, (_, i) => new Sealer([OLD]).seal(`text ${i}`, PLACE));
  const sealer = new Sealer([OLD]);
  for (const [i, text] of [...sealed.entries(), ...sealed.entries()]) {
    expect(sealer.open(text, PLACE)).toBe(`text ${i}`);
  }
});

test("nonsense is refused, never more than that", () => {
  const random = seeded(5);
  const sealer = new Sealer([OLD]);
  for (let i = 0; i < 5_000; i++) {
    const length = Math.floor(random() * 200);
    const noise = Array.from({ length }, () => String.fromCharCode(Math.floor(random() * 0x300))).join("");
    const text = `${["~1", "~2", "~", ""][i % 4]}${noise}`;
    expect(["altered", "unknown-key", "not-encrypted"]).toContain(reasonOf(() => sealer.open(text, PLACE)));
  }
});

describe("without keys", () => {
  test("nothing is encrypted, and what others encrypted is told", () => {
    const none = new Sealer([]);
    expect(none.hasKeys).toBe(false);
    expect(none.seal("text", PLACE)).toBe("text");
    expect(none.sealSame("text", PLACE)).toBe("text");
    expect(none.open("text", PLACE)).toBe("text");
    expect(reasonOf(() => none.open(new Sealer([OLD]).seal("text", PLACE), PLACE))).toBe("no-keys");
    expect(reasonOf(() => new Sealer([OLD]).open("text", PLACE))).toBe("not-encrypted");
  });

  test("keys can be brought to a cluster in three steps, of which each understands the one before", () => {
    const steps = [[], ["clear", OLD], [OLD, "clear"], [OLD]].map((keys) => new Sealer(keys));
    for (const [i, sealer] of steps.entries()) {
      for (const other of [steps[i - 1], steps[i + 1]]) {
        if (other !== undefined) expect(other.open(sealer.seal("text", PLACE), PLACE)).toBe("text");
      }
    }
    expect(steps[1]?.seal("text", PLACE)).toBe("text");
    expect(isSealed(steps[2]?.seal("text", PLACE) ?? "")).toBe(true);
    expect(reasonOf(() => steps[3]?.open("text", PLACE))).toBe("not-encrypted");
  });
});

test("wrong keys are refused, all at once, and none is shown", () => {
  const short = Buffer.from("too short a secret").toString("base64");
  const poor = Buffer.alloc(32, 7).toString("base64");
  let found: unknown;
  try {
    new Sealer([short, OLD, poor, OLD.replaceAll("+", "-").replaceAll("/", "_"), undefined as never]);
  } catch (error) {
    found = error;
  }
  expect(found).toBeInstanceOf(ConfigurationError);
  const { faults, message } = found as ConfigurationError;
  expect(faults).toEqual([
    "encryptionKeys[0] must be 32 random bytes in base64; make them by: openssl rand -base64 32",
    "encryptionKeys[2] is not random; make one by: openssl rand -base64 32",
    "encryptionKeys[3] is in the list already",
    "encryptionKeys[4] must be 32 random bytes in base64; make them by: openssl rand -base64 32",
  ]);
  for (const key of [short, OLD, poor]) expect(message).not.toContain(key);
  expect(() => new Sealer(["clear"])).toThrow("encrypts nothing");
});
