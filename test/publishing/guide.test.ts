import { execFile, spawnSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { expect, jest, test } from "@jest/globals";
import { LayerUnavailable } from "sluice";
import { publishingDefaults } from "../../src/publishing/publishing.ts";
import { blockOf, complete, Project } from "../guides.ts";
import { testNeeding } from "../needing.ts";
import { atEnd } from "../server/live-server.ts";
import { FakeLayer, scene } from "./scene.ts";

jest.setTimeout(60_000);

const run = promisify(execFile);
const guide = new URL("../../docs/publishing.md", import.meta.url);
const PAID = ["order.paid", { order: 42 }];

function testWith(program: string, name: string, body: () => Promise<void>): void {
  testNeeding(spawnSync(program, ["--version"]).status === 0, `install ${program}`)(name, body);
}

testWith("curl", "the guide's curl publishes, and only once", async () => {
  const { url, key, post, listener } = await scene();
  const ann = await listener("chat.lobby");
  const code = await blockOf("docs/publishing.md", "sh", "curl");
  const env = { ...process.env, SLUICE_URL: url, SLUICE_KEY: key };
  for (let i = 0; i < 2; i++) {
    expect((await run("sh", ["-c", code], { env })).stdout).toBe('{"accepted":true}');
  }
  await post("/groups/chat.lobby/events", { event: "last" });
  expect(await ann.until("last")).toEqual([PAID, ["last"]]);
  const refused = run("sh", ["-c", code], { env: { ...env, SLUICE_KEY: "wrong" } });
  await expect(refused).rejects.toMatchObject({ stdout: expect.stringContaining("not valid here") });
});

testWith(
  "node",
  "the guide's command makes a key, which the guide's server takes from its environment",
  async () => {
    const project = await Project.make();
    atEnd(() => project.close());
    const making = await blockOf("docs/publishing.md", "sh", "createPublishingKey");
    const { stdout } = await run("sh", ["-c", making], { cwd: project.folder });
    const [, key = ""] = /key: '([^']+)'/.exec(stdout) ?? [];
    const [, hash = ""] = /hash: '([^']+)'/.exec(stdout) ?? [];
    const shop = await blockOf("docs/publishing.md", "ts", "parsePublishingKeys(");
    const code = await complete(`
    class Lobby extends Consumer { static groups = ["chat.lobby"]; }
    const app = createApplication({ routes: [route("/lobby", Lobby)] });
${shop.replace("createServer(app)", "createServer(app, { port: 0 })")}
    const ann = new TestClient(app, "/lobby");
    const { url } = await server.listen();
    await ann.connect();
    const headers = { authorization: "Bearer " + process.env.KEY, "content-type": "application/json" };
    const event = { group: "chat.lobby", event: "order.paid", payload: { order: 42 }, id: "order-42-paid" };
    const events = [event, { ...event, group: "chat.attic" }];
    const response = await fetch(url + "/api/events", { method: "POST", headers, body: JSON.stringify({ events }) });
    console.log(JSON.stringify([response.status, await response.json(), await ann.next("order.paid")]));
    await server.stop({ atOnce: true });`);
    const env = { PUBLISH_KEYS: `shop:${hash}:chat.lobby`, KEY: key };
    const [status, answer, payload] = JSON.parse(await project.run(code, { env }));
    expect([status, payload]).toEqual([207, { order: 42 }]);
    const shown = JSON.parse(await blockOf("docs/publishing.md", "json", '"refused": 1'));
    shown.results[1].error.message = expect.any(String);
    expect(answer).toEqual(shown);
  },
);

testWith("python3", "the guide's Python publishes a batch", async () => {
  const { url, key, listener } = await scene();
  const [lobby, attic] = [await listener("chat.lobby"), await listener("chat.attic")];
  const env = { ...process.env, SLUICE_URL: url, SLUICE_KEY: key };
  const { stdout } = await run("python3", ["-c", await blockOf("docs/publishing.md", "python", "publish(")], {
    env,
  });
  expect(stdout).toContain("'accepted': 2, 'refused': 0");
  expect(await lobby.until("order.paid")).toEqual([PAID]);
  expect(await attic.until("order.paid")).toEqual([PAID]);
});

testWith(
  "python3",
  "the guide's Python tries again when the layer is away, and says what was refused",
  async () => {
    const layer = new FakeLayer();
    const { url, key } = await scene({ layer });
    layer.answer = () => {
      if (layer.emitted.length <= 2) throw new LayerUnavailable("Redis is away");
    };
    const env = { ...process.env, SLUICE_URL: url, SLUICE_KEY: key };
    const code = await blockOf("docs/publishing.md", "python", "publish(");
    expect((await run("python3", ["-c", code], { env })).stdout).toContain("'accepted': 2, 'refused': 0");
    expect(layer.emitted).toHaveLength(4);
    const refused = run("python3", ["-c", code.replace('"chat.attic"', '"secret"')], { env });
    await expect(refused).rejects.toMatchObject({ stderr: expect.stringContaining("'code': 'forbidden'") });
  },
);

test("the guide's table has every limit with its default", async () => {
  const text = await readFile(guide, "utf8");
  const { limits, ...others } = publishingDefaults;
  const named = Object.entries(limits).map(([name, value]) => [`limits.${name}`, value] as const);
  for (const [name, value] of [...Object.entries(others), ...named]) {
    const [, shown] = new RegExp(`^\\| \`${name}\` +\\| ([0-9,]+) `, "m").exec(text) ?? [];
    expect([name, shown]).toEqual([name, value.toLocaleString("en-US")]);
  }
});
