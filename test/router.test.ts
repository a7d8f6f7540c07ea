import { describe, expect, test } from "@jest/globals";
import {
  type ConfigurationError,
  Consumer,
  http,
  include,
  type Middleware,
  type RouteEntry,
  route,
  sse,
} from "sluice";
import { Router } from "../src/router.ts";
import { someScope } from "./some-scope.ts";

class Chat extends Consumer {}
class Lobby extends Consumer {}
const answer = () => {};

function faultsOf(routes: readonly RouteEntry[]): readonly string[] {
  try {
    new Router(routes);
    return [];
  } catch (error) {
    return (error as ConfigurationError).faults;
  }
}

describe("a routing table", () => {
  test("serves a namespace by the first route that matches", () => {
    const router = new Router([route("/chat/lobby", Lobby), route("/chat/:room", Chat)]);
    expect(router.consumerAt("socket", "/chat/lobby")?.route.consumer).toBe(Lobby);
    expect(router.consumerAt("socket", "/chat/den")?.route.consumer).toBe(Chat);
    expect(router.consumerAt("socket", "/chat/den")?.params).toEqual({ room: "den" });
    expect(router.consumerAt("socket", "/other")).toBeUndefined();
  });

  test("keeps sockets, streams and HTTP routes apart", () => {
    const router = new Router([route("/a", Chat), sse("/b", Chat), http("/c", answer, { methods: ["get"] })]);
    expect(router.consumerAt("sse", "/a")).toBeUndefined();
    expect(router.consumerAt("sse", "/b")?.route.consumer).toBe(Chat);
    expect(router.httpAt("GET", "/c")?.route.handler).toBe(answer);
    expect(router.httpAt("HEAD", "/c")?.route.handler).toBe(answer);
    expect(router.httpAt("POST", "/c")).toBeUndefined();
  });

  test("nests, and joins patterns, names and middleware from the outside in", async () => {
    const seen: string[] = [];
    const note =
      (name: string): Middleware =>
      (_scope, next) => {
        seen.push(name);
        return next();
      };
    const router = new Router(
      [
        include(
          "/orgs/:org",
          [
            include("/chat", [route("/:room", Chat, { name: "room", middleware: [note("route")] })], {
              name: "chat",
            }),
          ],
          { name: "org", middleware: [note("include")] },
        ),
      ],
      [note("application")],
    );
    expect(router.url("org:chat:room", { org: "acme", room: "den" })).toBe("/orgs/acme/chat/den");
    const match = router.consumerAt("socket", "/orgs/acme/chat/den");
    expect(match?.params).toEqual({ org: "acme", room: "den" });
    await match?.route.admit(someScope(), async () => {});
    expect(seen).toEqual(["application", "include", "route"]);
  });

  test("reverses names, and says which name was probably meant", () => {
    const router = new Router([
      route("/chat/:room", Chat, { name: "chat" }),
      route("/", Lobby, { name: "lobby" }),
    ]);
    expect(router.url("chat", { room: "a b" })).toBe("/chat/a%20b");
    expect(router.url("lobby")).toBe("/");
    expect(() => router.url("chta", { room: "x" })).toThrow('did you mean "chat"?');
    expect(() => router.url("chat")).toThrow('needs the parameter "room"');
  });

  test("reports every fault at once", () => {
    class Broken extends Consumer {
      static override readonly concurrency = 0;
    }
    const faults = faultsOf([
      route("/chat/:room", Chat, { name: "a" }),
      route("/chat/lobby", Lobby, { name: "b" }),
      route("/x", Chat, { name: "same" }),
      route("/y", Chat, { name: "same" }),
      route("/twice", Chat),
      route("/twice", Lobby),
      route("no-slash" as "/", Chat),
      route("/not-a-consumer", Map as never),
      route("/broken", Broken),
      route("/guarded", Chat, { middleware: ["nothing" as never] }),
    ]);
    expect(faults).toEqual(
      expect.arrayContaining([
        '"/chat/lobby" can never match: "/chat/:room" comes first and takes all it would',
        'the name "same" is given to "/x" and to "/y"',
        '"/twice" is routed twice; remove one',
        'the pattern "no-slash" must begin with "/"',
        '"/not-a-consumer" needs a class that extends Consumer',
        "Broken.concurrency must be a whole number of at least 1, not 0",
        'a middleware of "/guarded" is no function (scope, next)',
      ]),
    );
    expect(faults).toHaveLength(7);
  });

  test("lets HTTP routes share a path when their methods differ", () => {
    expect(
      faultsOf([http("/c", answer, { methods: ["GET"] }), http("/c", answer, { methods: ["POST"] })]),
    ).toEqual([]);
    expect(faultsOf([http("/c", answer), http("/c", answer, { methods: ["POST"] })])).toHaveLength(1);
  });
});
