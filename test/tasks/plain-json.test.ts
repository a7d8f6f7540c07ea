import { expect, test } from "@jest/globals";
import { plainJson } from "../../src/tasks/plain-json.ts";
import { seeded } from "../seeded.ts";

const random = seeded(5);

const refusals: [what: string, value: unknown, path: string, hint: RegExp][] = [
  ["a Date", { when: [new Date(0)] }, "args.when[0]", /toISOString/],
  ["a Map", { "to whom": new Map() }, 'args["to whom"]', /Object.fromEntries/],
  ["a Set", new Set(), "args", /\[\.\.\.set\]/],
  ["a BigInt", { a: { b: 1n } }, "args.a.b", /send its text/],
  ["a function", { f: () => 1 }, "args.f", /plain objects/],
  ["a symbol", [Symbol("s")], "args[0]", /plain objects/],
  ["undefined in a list", [1, undefined], "args[1]", /use null/],
  // biome-ignore lint/suspicious/noSparseArray: that is what is tested
  ["a hole in a list", [, 1], "args[0]", /use null/],
  ["NaN", { n: Number.NaN }, "args.n", /null/],
  ["Infinity", Number.POSITIVE_INFINITY, "args", /null/],
  ["minus zero", [-0], "args[0]", /another number/],
  ["bytes", { file: new Uint8Array(2) }, "args.file", /base64/],
  ["an Error", new Error("e"), "args", /its message/],
  ["an instance of a class", { user: new (class User {})() }, "args.user", /User/],
  ["toJSON", { odd: { toJSON: () => 1 } }, "args.odd", /toJSON/],
];

test.each(refusals)("%s is refused with its path", (_what, value, path, hint) => {
  const refuse = () => plainJson(value, "args");
  expect(refuse).toThrow(expect.objectContaining({ code: "unencodable" }));
  expect(refuse).toThrow(`${path} `);
  expect(refuse).toThrow(hint);
});

test("a circle is refused, and does not hang", () => {
  const circle: { self?: unknown } = {};
  circle.self = circle;
  expect(() => plainJson(circle, "args")).toThrow(/in a circle/);
});

test("parts that are shared again and again are refused before they fill the memory", () => {
  let list: unknown[] = [];
  for (let n = 0; n < 60; n++) list = [list, list];
  expect(() => plainJson(list, "args")).toThrow(/too much/);
});

test("what is let through comes back equal, whatever it is", () => {
  const draw = (depth: number): unknown => {
    switch (Math.floor(random() * (depth > 4 ? 5 : 7))) {
      case 0:
        return null;
      case 1:
        return random() < 0.5;
      case 2:
        return (random() - 0.5) * 10 ** Math.floor(random() * 20);
      case 3:
        return String.fromCodePoint(...Array.from({ length: 5 }, () => Math.floor(random() * 0xd7ff)));
      case 4:
        return Math.floor(random() * 1_000);
      case 5:
        return Array.from({ length: 3 }, () => draw(depth + 1));
      default:
        return Object.fromEntries(Array.from({ length: 3 }, (_, i) => [`k${i}`, draw(depth + 1)]));
    }
  };
  for (let i = 0; i < 500; i++) {
    const value = draw(0);
    expect(JSON.parse(plainJson(value, "args") as string)).toEqual(value);
  }
});

test("a property that is undefined is left out, as everywhere; nothing at all stays nothing", () => {
  expect(plainJson({ a: 1, b: undefined }, "args")).toBe('{"a":1}');
  expect(plainJson(undefined, "args")).toBeUndefined();
  expect(plainJson(Object.assign(Object.create(null), { a: 1 }), "args")).toBe('{"a":1}');
});
