/** `sluice/client` out of the packed package, in a page that no bundler has touched. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";
import { describeWithChromium } from "../browser/chromium.ts";
import { blockOf } from "../guides.ts";
import { Packed } from "./packed.ts";

jest.setTimeout(120_000);

let packed: Packed;

beforeAll(async () => {
  packed = await Packed.make();
});
afterAll(() => packed.remove());

const CLIENT = "dist/client.min.js";

test("what a page loads of sluice/client is one file, under 6,000 bytes by gzip as servers do it", async () => {
  const text = await readFile(join(packed.folder, CLIENT));
  expect(text.toString()).not.toMatch(/\bimport\b|\bfrom ?["']/);
  expect(gzipSync(text).length).toBeLessThan(6_000);
});

test("the one file has all that the modules have", async () => {
  const { output } = await packed.node(
    ...["--input-type=module", "-e"],
    `const faces = await Promise.all([import("sluice/client"), import("sluice/client.min.js")]);
     console.log(JSON.stringify(faces.map((face) => Object.keys(face).sort())));`,
  );
  const [modules, file] = JSON.parse(output) as [string[], string[]];
  expect(file).toEqual(modules);
  expect(file).toContain("recover");
});

/** The guide's way to serve it, in a chat. */
const program = async () => `
import { fileURLToPath } from "node:url";
import { Consumer, createApplication, MemoryHistory, route } from "sluice";
import { createServer } from "sluice/server";
class Chat extends Consumer {
  async connect() {
    await this.groupAdd("chat.lobby");
    await this.sendPresence("chat.lobby");
  }
}
const app = createApplication({
  routes: [route("/chat/lobby", Chat)],
  groups: { "chat.*": { history: { size: 100, ttlMs: 60_000 }, presence: true } },
  history: new MemoryHistory(),
  secret: "a secret that all servers of a test share",
  middleware: [(_scope, next) => next({ user: "ada" })],
});
const server = createServer(app, { port: 0 });
${await blockOf("docs/client.md", "js", "client.min.js")}
server.express.get("/", (_request, response) => response.send(process.env.PAGE));
console.log((await server.listen()).url);
`;

/** The guide's page, where a test can look at it. */
const page = async () => {
  const html = await blockOf("docs/client.md", "html", "importmap");
  const seen =
    "Object.assign(globalThis, { socket, here, joined: [] }); recovery.on('joined', (event) => joined.push(event.recovered));";
  return `<!doctype html><title>t</title><link rel="icon" href="data:,">${html.replace(/<\/script>\n$/, `${seen}</script>`)}`;
};

describeWithChromium("sluice/client without a bundler", (browser) => {
  test("the guide's page recovers and knows who is here, with one request for it", async () => {
    await packed.write("serve.js", await program());
    const child = spawn(process.execPath, ["serve.js"], {
      cwd: packed.project,
      env: { ...process.env, PAGE: await page() },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const context = await browser().newContext();
    try {
      const [url] = (await once(createInterface(child.stdout), "line")) as [string];
      const tab = await context.newPage();
      const complaints: string[] = [];
      const scripts: string[] = [];
      tab.on("pageerror", (error) => complaints.push(String(error)));
      tab.on(
        "request",
        (request) => request.resourceType() === "script" && scripts.push(new URL(request.url()).pathname),
      );
      await tab.goto(url);
      await tab.waitForFunction("globalThis.here?.isCurrent && here.users.has('ada')");
      await tab.evaluate("socket.io.engine.close()");
      await tab.waitForFunction("globalThis.joined.length === 2");
      expect(await tab.evaluate("joined")).toEqual([false, true]);
      expect(scripts.sort()).toEqual(["/sluice-client.js", "/socket.io/socket.io.esm.min.js"]);
      expect(complaints).toEqual([]);
    } finally {
      await context.close();
      child.kill();
      await once(child, "close");
    }
  });
});
