import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { connect } from "node:net";
import { expect, jest, test } from "@jest/globals";
import { route } from "sluice";
import { atEnd, connected, Echo, serve, stock } from "./live-server.ts";

const UPGRADE = "Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/** A connection that says this, and what came back. */
function talker(port: number, said: string) {
  const socket = connect(port, "127.0.0.1");
  atEnd(() => socket.destroy());
  let heard = "";
  socket.on("error", () => {});
  socket.on("data", (chunk) => {
    heard += chunk;
  });
  socket.write(said);
  return { socket, heard: () => heard };
}

test("an upgrade of a path that is not Socket.IO's is refused, and its connection closed", async () => {
  const live = await serve({ routes: [route("/echo", Echo)] });
  const set = jest.spyOn(globalThis, "setTimeout");
  const { socket, heard } = talker(live.port, `GET /elsewhere HTTP/1.1\r\n${UPGRADE}`);
  await once(socket, "close");
  expect(heard()).toMatch(/^HTTP\/1.1 404 /);
  // Nor does Engine.IO wait for what is over.
  const later = set.mock.calls.filter(([, ms]) => ms === 1_000);
  set.mockRestore();
  expect(later).toEqual([]);
  const late = talker(live.port, `GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n${UPGRADE}`);
  await once(late.socket, "close");
});

test("clients that ask for an upgrade and reset the connection do not end the process", async () => {
  // One that leaves other upgrades to their owner, too.
  const http = createHttpServer();
  await serve({ routes: [route("/echo", Echo)] }, { server: http });
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  atEnd(() => http.close());
  const { port } = http.address() as { port: number };
  for (const path of ["/elsewhere", "/socket.io/?EIO=4&transport=websocket", "/socket.io/?EIO=3"]) {
    const upgraded = once(http, "upgrade");
    const { socket } = talker(
      port,
      `GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\nGET ${path} HTTP/1.1\r\n${UPGRADE}`,
    );
    const [, server] = await upgraded;
    // Not by `once`, which would hear errors as well.
    const closed = new Promise<void>((resolve) => void server.on("close", () => resolve()));
    socket.resetAndDestroy();
    await closed;
  }
  const calm = await connected(stock(`http://127.0.0.1:${port}/echo`));
  expect(calm.connected).toBe(true);
});
