import { connect } from "node:net";
import { expect, test } from "@jest/globals";
import { Consumer, http, sse } from "sluice";
import { atEnd, Diary, serve, until } from "./live-server.ts";

/** Requests that come one behind the other on one connection, and that connection. */
function pipelined(port: number, paths: readonly string[]) {
  const socket = connect(port, "127.0.0.1");
  atEnd(() => socket.destroy());
  socket.on("error", () => {});
  socket.write(paths.map((path) => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`).join(""));
  socket.resume();
  return socket;
}

test("streams that wait behind another one on their connection end with it", async () => {
  const diary = new Diary();
  const live = await serve({ routes: [sse("/stream", diary.Witness)] });
  const socket = pipelined(live.port, Array(30).fill("/stream"));
  await until(() => live.app.sizes.connections === 30, "all have come");
  socket.destroy();
  await until(() => diary.reasons.length === 30, "all have ended");
  expect(new Set(diary.reasons.map(({ kind }) => kind))).toEqual(new Set(["transport"]));
  await live.empty();
});

test("a route whose answer waits behind a stream hears that its client has gone", async () => {
  let signal: AbortSignal | undefined;
  class Quiet extends Consumer {}
  const live = await serve({
    routes: [
      sse("/stream", Quiet),
      http("/slow", (_request, response) => {
        signal = response.locals.scope.closed;
      }),
    ],
  });
  const socket = pipelined(live.port, ["/stream", "/slow"]);
  await until(() => signal, "the route runs");
  expect(signal?.aborted).toBe(false);
  socket.destroy();
  await until(() => signal?.aborted, "the route hears it");
  await live.empty();
});
