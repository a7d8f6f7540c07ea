import { execFile, spawnSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { expect, jest, test } from "@jest/globals";
import { LayerUnavailable } from "sluice";
import { publishingDefaults } from "../../src/publishing/publishing.ts";
import { blockOf } from "../guides.ts";
import { testNeeding } from "../needing.ts";
import { FakeLayer, scene } from "./scene.ts";

jest.setTimeout(60_000);

const run = promisify(execFile);
const guide = new URL("../../docs/publishing.md", import.meta.url);
const PAID = ["order.paid", { order: 42 }];

function testWith(program: string, name: string, body: () => Promise<void>): void {
  testNeeding(spawnSync(program, ["--version"]).status === 0, `install ${program}`)(name, body);
}

const example = (language: string, word: string) => blockOf("docs/publishing.md", language, word);

testWith("curl", "the guide's curl publishes, and only once", async () => {
  const { url, key, post, listener } = await scene();
  const ann = await listener("chat.lobby");
  const code = await example("sh", "curl");
  const env = { ...process.env, SLUICE_URL: url, SLUICE_KEY: key };
  for (let i = 0; i < 2; i++) {
    expect((await run("sh", ["-c", code], { env })).stdout).toBe('{"accepted":true}');
  }
  await post("/groups/chat.lobby/events", { event: "last" });
  expect(await ann.until("last")).toEqual([PAID, ["last"]]);
  const refused = run("sh", ["-c", code], { env: { ...env, SLUICE_KEY: "wrong" } });
  await expect(refused).rejects.toMatchObject({ stdout: expect.stringContaining("not valid here") });
});

testWith("python3", "the guide's Python publishes a batch", async () => {
  const { url, key, listener } = await scene();
  const [lobby, attic] = [await listener("chat.lobby"), await listener("chat.attic")];
  const env = { ...process.env, SLUICE_URL: url, SLUICE_KEY: key };
  const { stdout } = await run("python3", ["-c", await example("python", "publish(")], { env });
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
    const code = await example("python", "publish(");
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
