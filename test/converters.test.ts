import { describe, expect, test } from "@jest/globals";
import { type ConfigurationError, Consumer, type Converter, createApplication, route } from "sluice";
import { TestClient } from "sluice/testing";
import { ConversionTable } from "../src/converters.ts";
import { Pattern } from "../src/pattern.ts";
import { Router } from "../src/router.ts";

class Archive extends Consumer {
  override connect() {
    this.send("params", { ...this.scope.params });
  }
}
class Fallback extends Consumer {}

const year: Converter<Date> = {
  match: /[0-9]{4}/,
  parse: (text) => {
    if (text < "1970") throw new RangeError("nobody wrote anything then");
    return new Date(Date.UTC(Number(text), 0));
  },
  format: (date) => String(date.getUTCFullYear()),
};
const hex: Converter<number> = { match: /[0-9a-f]+/i, parse: (text) => Number.parseInt(text, 16) };

function pattern(source: string, converters: Readonly<Record<string, Converter>> = { year, hex }): Pattern {
  const faults: string[] = [];
  const conversions = new ConversionTable(converters, faults);
  expect(faults).toEqual([]);
  return new Pattern(source, conversions);
}

function faultsOf(converters: object): readonly string[] {
  try {
    createApplication({ routes: [], converters: converters as never });
    return [];
  } catch (error) {
    return (error as ConfigurationError).faults;
  }
}

describe("a converter of an application's own", () => {
  test("makes what its consumers get, and the way back", async () => {
    const app = createApplication({
      converters: { year, hex },
      routes: [route("/archive/:from(year)/:colour(hex)?", Archive, { name: "archive" })],
    });
    const client = new TestClient(app, "/archive/2024/fF");
    await expect(client).toBeAccepted();
    expect(await client.next("params")).toEqual({ from: "2024-01-01T00:00:00.000Z", colour: 255 });
    expect(app.url("archive", { from: new Date(Date.UTC(1999, 5)) })).toBe("/archive/1999");
    await app.stop();
  });

  test("does not match what its parse throws at, and the next route is asked", async () => {
    const app = createApplication({
      converters: { year },
      routes: [route("/archive/:from(year)", Archive), route("/archive/:name", Fallback)],
    });
    const old = new TestClient(app, "/archive/1492");
    await expect(old).toBeAccepted();
    await old.expectSilence();
    expect(await new TestClient(app, "/archive/1492/x").connect()).toMatchObject({ code: 4404 });
    await app.stop();
  });

  test.each([
    ["/a/:x(hex)", "/a/g", undefined],
    ["/a/:x(hex)", "/a/ff/0", undefined],
    ["/a/:x(hex)", "/a/ffg", undefined],
    ["/a/:x(hex)", "/a/f%0Ag", undefined],
    ["/a/:x(hex)", "/a/%66%66", { x: 255 }],
    ["/a/:x(hex)", `/a/${"0".repeat(99)}f`, { x: 15 }],
    ["/a/:x(hex)", `/a/${"0".repeat(100)}f`, undefined],
  ])("%s and %s: all of one segment, of a bounded length", (source, path, params) => {
    expect(pattern(source).match(path)).toEqual(params);
  });

  test("takes no slash, however it came", () => {
    const any: Converter<string> = { match: /.+/, parse: (text) => text };
    expect(pattern("/a/:x(any)", { any }).match("/a/b%2Fc")).toBeUndefined();
    expect(() => pattern("/a/:x(any)", { any }).format({ x: "b/c" })).toThrow('"b/c" is no any for "x"');
  });

  test("does not mind the flags that let an expression remember where it was", () => {
    const found = pattern("/a/:x(word)", { word: { match: /^b+$/gmy, parse: (text) => text } });
    for (let i = 0; i < 3; i += 1) expect(found.match("/a/bb")).toEqual({ x: "bb" });
    expect(found.match("/a/bb%0Ac")).toBeUndefined();
  });

  test("says nothing at all by undefined; null, false and 0 are values", () => {
    const flag = (value: unknown) => pattern("/a/:x(flag)", { flag: { match: /on/, parse: () => value } });
    expect(flag(undefined).match("/a/on")).toBeUndefined();
    expect(flag(null).match("/a/on")).toEqual({ x: null });
    expect(flag(0).match("/a/on")).toEqual({ x: 0 });
  });

  test("that promises a value matches nothing, and its rejection is heard", async () => {
    const late = pattern("/a/:x(late)", {
      late: { match: /.+/, parse: (text) => Promise.reject(new Error(text)) },
    });
    expect(late.match("/a/b")).toBeUndefined();
    // Were it not heard, it would end this process here.
    await new Promise((resolve) => setImmediate(resolve));
  });

  test("formats only what it would take again", () => {
    const from = pattern("/archive/:from(year)");
    expect(() => from.format({ from: new Date(Date.UTC(1492, 0)) })).toThrow('"1492" is no year for "from"');
    expect(() => from.format({ from: "soon" })).toThrow('the converter year has no text for "from"');
    const odd = { match: /.+/, parse: (text: string) => text, format: () => 7 as never };
    expect(() => pattern("/:x(odd)", { odd }).format({ x: "x" })).toThrow('"7" is no odd for "x"');
  });

  test("hides later routes as far as that is known, and is hidden by others", () => {
    const own = (routes: ConstructorParameters<typeof Router>[0]) => () =>
      new Router(routes, [], { year, hex });
    const take = (source: string) => route(source as "/", Fallback);
    expect(own([take("/:x(year)"), take("/2024")])).toThrow('"/2024" can never match');
    expect(own([take("/:x(year)"), take("/1492")])).not.toThrow();
    expect(own([take("/:x(year)"), take("/:y(year)")])).toThrow("can never match");
    expect(own([take("/:x(year)"), take("/:y(hex)")])).not.toThrow();
    expect(own([take("/:x(year)"), take("/:y(int)")])).not.toThrow();
    expect(own([take("/:x"), take("/:y(hex)")])).toThrow("can never match");
    expect(own([take("/:x(path)"), take("/:y(hex)")])).toThrow("can never match");
    expect(own([take("/:x(slug)"), take("/:y(hex)")])).not.toThrow();
  });
});

describe("the start", () => {
  test("lists every fault of converters at once", () => {
    const parse = String;
    expect(
      faultsOf({
        int: { match: /x/, parse },
        "two words": { match: /x/, parse },
        text: { match: "x", parse },
        none: undefined,
        later: { match: /x/, parse: async () => 1 },
        oneWay: { match: /x/, parse, format: "x" },
      }),
    ).toEqual([
      "converters.int has the name of a converter that is always there; choose another",
      "converters.two words needs a name of letters, digits and _ that begins with no digit",
      "converters.text needs match, a regular expression for one segment",
      "converters.none needs match, a regular expression for one segment",
      "converters.none needs parse(text), which returns the value",
      "converters.later has a parse that is async; parse text here, and look things up in a middleware",
      "converters.oneWay has a format that is no function (value) => text",
    ]);
  });

  test("says which converters there are, and which was probably meant", () => {
    const none = () => createApplication({ routes: [route("/:x(colour)", Fallback)] });
    expect(none).toThrow("its converter is none of str, int, slug, uuid, path, nor one of the application's");
    const nearly = () => createApplication({ converters: { year }, routes: [route("/:x(yaer)", Fallback)] });
    expect(nearly).toThrow('did you mean the converter "year"?');
    const proto = () => createApplication({ routes: [route("/:x(constructor)", Fallback)] });
    expect(proto).toThrow("its converter is none of");
  });

  test.each([
    /(a+)+/,
    /(a|a)*b/,
    /([a-z]+)*[0-9]/,
    /(\w+\s?)*!/,
    /(x+x+)+y/,
    /(.*)*z/,
    /((ab|abab)+)+c/,
    /([0-9]+-?)+/,
    /(ß+)+/,
  ])("refuses %s, which a client could keep busy for years", (match) => {
    expect(faultsOf({ slow: { match, parse: String } })).toEqual([
      expect.stringContaining(`converters.slow has a match that takes too long`),
    ]);
  });

  test.each([
    /[0-9]{4}-[0-9]{2}-[0-9]{2}/,
    /[a-z0-9]+(?:-[a-z0-9]+)*/,
    /(?:[0-9]{1,3}\.){3}[0-9]{1,3}/,
    /[\w.+-]+@[\w-]+\.[\w.-]+/,
    /north|south|east|west/i,
    /\p{L}+/u,
  ])("takes %s", (match) => {
    expect(faultsOf({ quick: { match, parse: String } })).toEqual([]);
  });
});
