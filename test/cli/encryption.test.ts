/** Keys from the environment, in real programs. */
import { expect, test } from "@jest/globals";
import { io } from "socket.io-client";
import { RedisServer, redisTest } from "../redis/redis-server.ts";
import { atEnd, connected, heard } from "../server/live-server.ts";
import { KEYS } from "../some-keys.ts";
import { application, demo, run, start } from "./programs.ts";

const SECRET = "s".repeat(32);
const source = (options: string) => `
import { Consumer, createApplication, route } from "sluice";
import { createServer } from "sluice/server";
class Reader extends Consumer {
  async connect() { await this.groupAdd("news"); }
}
export const compose = ({ backplane, encryptionKeys, serverOptions }) =>
  createServer(createApplication({ routes: [route("/news", Reader)], ${options} }), serverOptions);
`;

test("a wrong key ends the start with what to do, and is not shown", async () => {
  const env = { SLUICE_ENCRYPTION_KEYS: `${KEYS[0]}, tooshort`, SLUICE_SECRET: SECRET };
  const { code, stderr } = await run(["start", demo()], { env });
  expect(code).toBe(1);
  expect(stderr).toContain("encryptionKeys[1] must be 32 random bytes in base64");
  expect(stderr).not.toContain(KEYS[0]);
  expect(stderr).not.toContain("tooshort");
});

test("an application that would leave the keys unused is not started", async () => {
  const module = await application(source("backplane"), "careless.js");
  const { code, stderr } = await run(["start", module], { env: { SLUICE_ENCRYPTION_KEYS: KEYS[0] } });
  expect(code).toBe(1);
  expect(stderr).toContain("SLUICE_ENCRYPTION_KEYS is set, but careless.js does not use it");
});

redisTest(
  "`sluice emit` speaks to nodes with the same keys, and is told of by those with others",
  async () => {
    const redis = await RedisServer.start();
    atEnd(() => redis.close());
    const env = { REDIS_URL: redis.url, SLUICE_ENCRYPTION_KEYS: `${KEYS[0]},${KEYS[1]}`, PORT: "0" };
    const module = await application(source("backplane, encryptionKeys"), "careful.js");
    const program = start(module, [], { env });
    const client = await connected(io(`${await program.url()}/news`, { forceNew: true }));
    atEnd(() => client.disconnect());
    const flash = heard(client, "flash");
    const emit = async (keys: string, payload: string) =>
      run(["emit", "news", "flash", payload], { env: { ...env, SLUICE_ENCRYPTION_KEYS: keys } });
    expect(await emit("", "0")).toMatchObject({ code: 0 });
    expect(await emit(KEYS[2], "1")).toMatchObject({ code: 0 });
    expect(await emit(KEYS[1], "2")).toMatchObject({ code: 0 });
    expect(await flash).toEqual([2]);
    expect(program.stdout).toContain('"reason":"not-encrypted"');
    expect(program.stdout).toContain('"reason":"unknown-key"');
    expect(program.stdout).toContain("give all the same encryptionKeys");
  },
);
