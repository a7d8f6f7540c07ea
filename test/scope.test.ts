import { expect, test } from "@jest/globals";
import type { Handshake, ScopeConnection } from "sluice";
import { randomId } from "../src/random-id.ts";
import { ConnectionScope, ScopeSource } from "../src/scope.ts";

const handshake: Handshake = {
  ...{ protocol: "test", namespace: "/room", path: "/", auth: {}, remoteAddress: "::1", requestId: "r-1" },
  ...{ query: new URLSearchParams("a=1"), headers: { cookie: "id=7; id2=b%20c" } },
};
const face = {} as ScopeConnection;
const make = () => new ScopeSource(handshake, { token: "t" }, { room: "den" }, { face });

test("a scope has all of it as properties of its own, so that a copy by spreading has it, too", () => {
  const source = make();
  const scope = new ConnectionScope(source).with({ user: "ann", state: { a: 1 } });
  const copy = { ...scope };
  expect(copy).toEqual({
    ...{ id: source.id, protocol: "test", namespace: "/room", path: "/", params: { room: "den" } },
    ...{ query: handshake.query, headers: handshake.headers, auth: { token: "t" }, remoteAddress: "::1" },
    ...{ session: undefined, user: "ann", requestId: "r-1", state: { a: 1 } },
    ...{ cookies: new Map(Object.entries({ id: "7", id2: "b c" })), closed: source.closed, connection: face },
  });
  expect(Object.keys(copy).sort()).toEqual(Object.keys(scope).sort());
});

test("whoever asks for the end of a connection hears it, also when it has ended before", () => {
  const [early, late] = [make(), make()];
  const { closed } = new ConnectionScope(early);
  expect(closed.aborted).toBe(false);
  early.end("gone");
  early.end("again");
  late.end("gone");
  for (const signal of [closed, new ConnectionScope(late).closed]) {
    expect([signal.aborted, signal.reason]).toEqual([true, "gone"]);
  }
});

test("ids are never the same, of the length that was asked for, and safe in names", () => {
  const ids = new Set(Array.from({ length: 2_000 }, () => randomId(15)));
  expect(ids.size).toBe(2_000);
  for (const id of ids) expect(id).toMatch(/^[A-Za-z0-9_-]{20}$/);
});
