import { expect, test } from "@jest/globals";
import { deny, type Middleware, route } from "sluice";
import { recover } from "sluice/client";
import { connected, Echo, heard, type Live, serve, until } from "../server/live-server.ts";
import { manager } from "./scripted-server.ts";

/** A consumer that its client can tell to close with a code. */
class Closing extends Echo {
  override receive(event: string, payload: unknown): unknown {
    if (event !== "close") return super.receive(event, payload);
    this.close(payload as number, "because");
    return "closed";
  }
}

/** Three namespaces on one connection; the first two recover. */
async function scene(live: Live) {
  const all = manager(live.url);
  const [room, neighbour, third] = [all.socket("/room"), all.socket("/neighbour"), all.socket("/third")];
  const recovery = recover(room);
  recover(neighbour);
  await connected(third.connect());
  await connected(neighbour.connect());
  /** Each time later than the room would come back, if it did. */
  const staysAway = async () => {
    for (let round = 0; round < 4; round++) {
      const back = heard(neighbour, "connect");
      neighbour.emit("close", 4503);
      await back;
    }
    expect(room.active).toBe(false);
    expect(live.app.sizes.connections).toBe(2);
  };
  return { all, room, recovery, neighbour, staysAway };
}

const routes = ["/room", "/neighbour", "/third"].map((path) => route(path, Closing));

test.each([4500, 4503, 4599])(
  "%d on one namespace of several: it comes back, the others stay",
  async (code) => {
    const { room, neighbour } = await scene(await serve({ routes }));
    await connected(room.connect());
    const lost: unknown[] = [];
    neighbour.on("disconnect", (reason) => lost.push(reason));
    for (let round = 0; round < 3; round++) {
      const goodbye = heard(room, "sluice.close");
      const gone = heard(room, "disconnect");
      const back = heard(room, "connect");
      room.emit("close", code);
      expect(await goodbye).toEqual([{ code, reason: "because" }]);
      expect((await gone)[0]).toBe("io server disconnect");
      await back;
    }
    expect(await room.emitWithAck("say", 1)).toEqual({ event: "say", payload: 1 });
    expect(lost).toEqual([]);
  },
);

test.each([4400, 4403, 4499])("%d: it stays away", async (code) => {
  const live = await serve({ routes });
  const { room, staysAway } = await scene(live);
  await connected(room.connect());
  const gone = heard(room, "disconnect");
  room.emit("close", code);
  await gone;
  await staysAway();
  expect(room.active).toBe(false);
  await connected(room.connect());
});

test("a disconnect without a word, after a word for an earlier connection: it stays away", async () => {
  const live = await serve({ routes });
  const { room, staysAway } = await scene(live);
  await connected(room.connect());
  const back = heard(room, "connect");
  room.emit("close", 4503);
  await back;
  const gone = heard(room, "disconnect");
  for (const socket of live.io._nsps.get("/room")?.sockets.values() ?? []) socket.disconnect();
  await gone;
  await staysAway();
});

test("what the application says last counts: disconnect() while it waits to come back, also in a listener", async () => {
  const live = await serve({ routes });
  const { all, room, staysAway } = await scene(live);
  await connected(room.connect());
  for (const when of ["later", "in a listener"]) {
    all.reconnectionDelay(when === "later" ? 20 : 1);
    const gone = new Promise<void>((resolve) => {
      room.once("disconnect", () => {
        if (when === "in a listener") room.disconnect();
        resolve();
      });
    });
    room.emit("close", 4503);
    await gone;
    room.disconnect();
    await staysAway();
    await connected(room.connect());
  }
});

test.each([
  [4503, 3],
  [4403, 1],
])("a refusal with %d is tried %d times", async (code, tries) => {
  let attempts = 0;
  const gate: Middleware = (scope, next) =>
    scope.namespace === "/room" && ++attempts < 3 ? deny(code, "not now") : next();
  const live = await serve({ routes, middleware: [gate] });
  const { room, staysAway } = await scene(live);
  room.connect();
  await until(() => attempts === tries, "it has tried");
  if (code === 4503) await connected(room);
  else await staysAway();
  expect(attempts).toBe(tries);
});

test("it tries no more often than the Manager may, and not at all where reconnection is off", async () => {
  let attempts = 0;
  const gate: Middleware = (scope, next) => {
    if (scope.namespace !== "/room") return next();
    attempts += 1;
    return deny(4503, "not now");
  };
  const live = await serve({ routes, middleware: [gate] });
  const { all, room, staysAway } = await scene(live);
  all.reconnectionAttempts(2);
  let refused = 0;
  room.on("connect_error", () => {
    refused += 1;
  });
  room.connect();
  await until(() => refused === 3, "it has tried");
  all.reconnectionAttempts(100);
  await staysAway();
  all.reconnection(false);
  room.connect();
  await until(() => refused === 4, "it has tried");
  all.reconnection(true);
  await staysAway();
  expect(attempts).toBe(4);
});

test("it waits as long as the Manager says, and longer each time up to the most", async () => {
  const waits: number[] = [];
  let refusedAt = 0;
  const gate: Middleware = (scope, next) => {
    if (scope.namespace !== "/room") return next();
    if (refusedAt > 0) waits.push(performance.now() - refusedAt);
    refusedAt = performance.now();
    return waits.length < 6 ? deny(4503, "not now") : next();
  };
  const live = await serve({ routes, middleware: [gate] });
  const { all, room } = await scene(live);
  all.reconnectionDelay(20).reconnectionDelayMax(80);
  const entered = heard(room, "connect");
  room.connect();
  await entered;
  // Half of 20, 40, 80, 80, ... at least; what a busy machine adds is nobody's fault.
  for (const [i, least] of [10, 20, 40, 40, 40, 40].entries())
    expect(waits[i]).toBeGreaterThanOrEqual(least - 2);
});

test("stop() ends the waiting", async () => {
  const live = await serve({ routes });
  const { room, recovery, staysAway } = await scene(live);
  await connected(room.connect());
  const gone = heard(room, "disconnect");
  room.emit("close", 4503);
  await gone;
  recovery.stop();
  await staysAway();
});
