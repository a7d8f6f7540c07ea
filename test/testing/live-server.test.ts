import { afterEach, expect, test } from "@jest/globals";
import { chromium } from "playwright-core";
import { Consumer, createApplication, route } from "sluice";
import { createServer, type ServerOptions } from "sluice/server";
import { LiveServer } from "sluice/testing";
import { io } from "socket.io-client";
import { chromiumPath, chromiumTest } from "../browser/chromium.ts";
import { heard, until } from "../server/live-server.ts";

const ended: string[] = [];

class Echo extends Consumer {
  override async connect() {
    await this.groupAdd("echoes");
  }
  override receive(event: string, payload: unknown) {
    if (event === "throw") throw new Error("a bug");
    return payload;
  }
  override disconnect() {
    ended.push("echo");
  }
}

const started: LiveServer[] = [];
afterEach(async () => {
  for (const live of started.splice(0)) await live.stop();
  ended.length = 0;
});

async function start(options: ServerOptions = {}) {
  const app = createApplication({ routes: [route("/echo", Echo)] });
  const server = createServer(app, { port: 0, stopTimeoutMs: 500, ...options });
  const live = await LiveServer.start(server, { timeoutMs: 1_000 });
  started.push(live);
  return live;
}

test("serves stock clients on a port of its own, ends them, and nothing is left", async () => {
  const [live, other] = [await start(), await start()];
  expect(live.port).not.toBe(other.port);
  const ann = live.client(io, "/echo");
  const bob = live.client(io, "/echo", { transports: ["polling"] });
  expect([await ann.emitWithAck("say", 1), await bob.emitWithAck("say", 2)]).toEqual([1, 2]);
  expect(live.app.sizes.connections).toBe(2);
  await live.stop();
  expect([ann.connected, bob.connected, ended]).toEqual([false, false, ["echo", "echo"]]);
  expect(live.app.sizes.connections).toBe(0);
  await live.stop();
});

test("waits until it is empty while it serves, and says who is still there if not", async () => {
  const live = await start();
  const ann = live.client(io, "/echo");
  await ann.emitWithAck("say", 1);
  await expect(live.empty()).rejects.toThrow(
    "waited 1000 ms for the server to be empty, but it still has 1 open transports, 1 connections, 1 channels, 1 groups",
  );
  ann.disconnect();
  ann.io.engine.close();
  await live.empty();
  const bob = live.client(io, "/echo");
  expect(await bob.emitWithAck("say", 2)).toBe(2);
});

test("ends what else was begun with it, the last first, and the server whatever that throws", async () => {
  const live = await start();
  const order: string[] = [];
  live.atEnd(() => void order.push("first"));
  live.atEnd(() => {
    order.push("second");
    throw new Error("a page that does not close");
  });
  await expect(live.stop()).rejects.toThrow("a page that does not close");
  expect(order).toEqual(["second", "first"]);
  await expect(fetch(live.url)).rejects.toThrow();
  started.length = 0;
});

test("does not pass over what an application still keeps", async () => {
  const live = await start();
  Object.defineProperty(live.app, "sizes", { get: () => ({ connections: 0, groups: 1 }) });
  await expect(live.stop()).rejects.toThrow("the server has stopped and still has 1 groups");
  started.length = 0;
});

test("collects what consumers throw", async () => {
  const live = await start();
  const ann = live.client(io, "/echo");
  const closed = heard(ann, "sluice.close");
  ann.emit("throw");
  await closed;
  expect(live.errors).toMatchObject([{ message: "a bug" }]);
});

chromiumTest("serves a browser, which is gone before the server", async () => {
  const live = await start();
  live.server.express.get("/", (_request, response) => {
    response.send(`<script src="/socket.io/socket.io.js"></script><script>
      io("/echo").emit("say", "hello", (answer) => { document.title = answer; });
    </script>`);
  });
  const browser = await chromium.launch({ executablePath: chromiumPath, args: ["--no-sandbox"] });
  live.atEnd(() => browser.close());
  const page = await browser.newPage();
  await page.goto(live.url);
  await page.waitForFunction('document.title === "hello"');
  await live.stop();
  await until(() => ended.length === 1, "its consumer has ended");
  expect(browser.isConnected()).toBe(false);
});
