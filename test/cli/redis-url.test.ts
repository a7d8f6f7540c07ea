/** A Redis URL that cannot be meant: each command says what is wrong with it in one line, and never the password. */
import { expect, test } from "@jest/globals";
import { application, type Ended, run } from "./programs.ts";

const APP = `
  import { createApplication } from "sluice";
  import { createServer } from "sluice/server";
  export function compose({ backplane, secret, serverOptions }) {
    return createServer(createApplication({ routes: [], backplane, secret }), serverOptions);
  }`;

const WRONG: readonly (readonly [url: string, why: string])[] = [
  ["redis://user:hush@host:notaport", "has a port that is no number"],
  ["redis://user:hush@host:70000", "has a port that is not from 1 to 65535"],
  ["redis://user:hush@ho st", "has a host that is none"],
  ["redis://user:hush@host/hush", "has a path that is no database number"],
  ["http://user:hush@host:6379", "has an unknown scheme"],
  ["hush", "has an unknown scheme"],
  ["redis://hush@127.0.0.1:1", "has a user without a password"],
];
const COMMANDS = [
  ["check", "app.js"],
  ["inspect", "--for", "100ms"],
  ["start", "app.js", "--port", "0"],
  ["work", "app.js"],
  ["send", "room", '{"type":"x.y"}'],
  ["emit", "room", "said", "1"],
];

const shown = ({ stdout, stderr }: Ended) => stdout + stderr;

test.each(COMMANDS.map((args) => [args[0] as string, args] as const))(
  "%s says what is wrong with it, once",
  async (_name, args) => {
    await application(APP);
    const ended = await Promise.all(WRONG.map(([REDIS_URL]) => run(args, { env: { REDIS_URL } })));
    for (const [i, [, why]] of WRONG.entries()) {
      const end = ended[i] as Ended;
      expect(end.code).toBe(1);
      expect(
        shown(end)
          .split("\n")
          .filter((line) => line.includes(why)),
      ).toHaveLength(1);
      expect(shown(end)).toContain("redis://user:password@host");
      expect(shown(end)).not.toContain("hush");
      expect(shown(end)).not.toMatch(/^ +at /m);
    }
  },
);

test("that of the tasks is told by its own name, and an empty one is none", async () => {
  await application(APP);
  const TASKS_REDIS_URL = "redis://user:hush@host:notaport";
  const { code, stdout, stderr } = await run(["start", "app.js"], { env: { TASKS_REDIS_URL } });
  expect([code, stdout]).toEqual([1, ""]);
  expect(stderr).toMatch(
    /^sluice: TASKS_REDIS_URL must be like redis:[^\n]*: it has a port that is no number\n$/,
  );
  const { stderr: none } = await run(["inspect"], { env: { REDIS_URL: " " } });
  expect(none).toContain("set REDIS_URL");
});

test("a password with blanks and signs, where nothing answers, is in no line", async () => {
  await application(APP);
  const secret = "pa ss#/?@hush";
  const env = { REDIS_URL: `redis://:${secret}@127.0.0.1:1`, SLUICE_SECRET: "s".repeat(32) };
  for (const args of [...COMMANDS.slice(0, 2), ...COMMANDS.slice(4)]) {
    const end = await run(args, { env });
    expect([args[0], end.code]).toEqual([args[0], 1]);
    expect(shown(end)).toContain("nothing answers (connection refused)");
    expect(shown(end)).not.toContain("hush");
  }
});
