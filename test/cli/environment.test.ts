import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { ConfigurationError } from "sluice";
import { readDuration, readEnvironment, readQueues, VARIABLES } from "../../src/cli/environment.ts";
import { root } from "../installed-package.ts";

function faultsOf(env: Readonly<Record<string, string>>): readonly string[] {
  try {
    readEnvironment(env);
  } catch (error) {
    if (error instanceof ConfigurationError) return error.faults;
    throw error;
  }
  return [];
}

test("each variable is read as what it means, and an empty one is none", () => {
  const env = {
    HOST: "0.0.0.0",
    PORT: "0",
    PROCESSES: "3",
    LOG_LEVEL: "debug",
    REDIS_URL: " redis://r ",
    REDIS_USERNAME: "",
    ORIGINS: "https://a.example, *.b.example,",
    TRUSTED_PROXIES: "1",
    STOP_TIMEOUT_MS: "500",
    UNRELATED: "x",
  };
  expect(readEnvironment(env)).toEqual({
    HOST: "0.0.0.0",
    PORT: 0,
    PROCESSES: 3,
    LOG_LEVEL: "debug",
    REDIS_URL: "redis://r",
    ORIGINS: ["https://a.example", "*.b.example"],
    TRUSTED_PROXIES: 1,
    STOP_TIMEOUT_MS: 500,
  });
  expect(readEnvironment({ PROCESSES: "auto" }).PROCESSES).toBeGreaterThanOrEqual(1);
  expect(readEnvironment({})).toEqual({});
});

test("every default in the table is a value that its variable takes", () => {
  const defaults = Object.entries(VARIABLES).map(([name, variable]) => [name, variable.default]);
  expect(faultsOf({ ...Object.fromEntries(defaults), REDIS_URL: "redis://r" })).toEqual([]);
});

test.each([
  ["PORT", "-1"],
  ["PORT", "80.5"],
  ["PORT", "0x50"],
  ["PORT", "65536"],
  ["PROCESSES", "many"],
  ["PROCESSES", "257"],
  ["LOG_LEVEL", "loud"],
  ["TRUSTED_PROXIES", "true"],
  ["LOG_LEVELS", "/chat"],
  ["LOG_LEVELS", "/chat=loud"],
  ["METRICS", "yes"],
  ["STOP_TIMEOUT_MS", "0"],
  ["STOP_TIMEOUT_MS", "10s"],
])("%s=%s is refused with what it must be", (name, value) => {
  const [fault, ...others] = faultsOf({ [name]: value });
  expect(others).toEqual([]);
  expect(fault).toMatch(new RegExp(`^${name} must be .+, not "${value}"$`));
});

test("levels of routes are read by pattern, and a token that is refused is not told to whoever reads the log", () => {
  expect(readEnvironment({ LOG_LEVELS: "/chat/:room=debug, /lobby=warn," }).LOG_LEVELS).toEqual(
    new Map([
      ["/chat/:room", "debug"],
      ["/lobby", "warn"],
    ]),
  );
  expect(faultsOf({ METRICS_TOKEN: "hunter2" })).toEqual([
    "METRICS_TOKEN must be at least 16 characters; make one by: openssl rand -base64 24, not what it is",
  ]);
});

test.each([
  ["REDIS_ULR", "REDIS_URL"],
  ["REDIS_PASS", "REDIS_PASSWORD"],
  ["REDIS_USER", "REDIS_USERNAME"],
  ["STOP_TIMEOUT", "STOP_TIMEOUT_MS"],
  ["PROCESES", "PROCESSES"],
  ["TRUSTED_PROXY", "TRUSTED_PROXIES"],
])("%s is probably meant to be %s", (name, meant) => {
  const env = { REDIS_URL: "redis://r", [name]: "1" };
  if (meant === "REDIS_URL") Reflect.deleteProperty(env, "REDIS_URL");
  expect(faultsOf(env)).toEqual([`${name} is not read by anything; did you mean ${meant}?`]);
});

test("what platforms put into the environment by themselves is none of our business", () => {
  const env = {
    REDIS_PORT: "tcp://10.0.0.1:6379",
    REDIS_PORT_6379_TCP_ADDR: "10.0.0.1",
    REDIS_SERVICE_HOST: "10.0.0.1",
    REDIS_SERVICE_PORT: "6379",
    REDIS_TLS_URL: "rediss://r",
    HOSTNAME: "h",
    HOSTTYPE: "x86_64",
    LOG_FORMAT: "json",
    npm_config_port: "1",
  };
  expect(faultsOf(env)).toEqual([]);
});

test("Redis by anything but its URL is not ignored in silence", () => {
  expect(faultsOf({ REDIS_HOST: "r", REDIS_PASSWORD: "x" })).toEqual([
    "REDIS_HOST is set but REDIS_URL is not; say where Redis is: redis://host:port",
    "REDIS_PASSWORD is set but REDIS_URL is not; say where Redis is: redis://host:port",
  ]);
});

test("the table in the docs is this one", async () => {
  const text = await readFile(join(root, "docs/running.md"), "utf8");
  const rows = [...text.matchAll(/^\| `([A-Z_]+)` +\| (.*?) +\| (.*?) +\|$/gm)].map(([, ...cells]) => cells);
  const expected = Object.entries(VARIABLES).map(([name, { default: usual, meaning }]) => [
    name,
    usual === "" ? "" : `\`${usual}\``,
    meaning,
  ]);
  expect(rows.map((cells) => cells.map((cell) => cell?.trim()))).toEqual(expected);
});

test("a password is what it is, to its last blank, and all else is trimmed", () => {
  const env = { REDIS_URL: " redis://r ", REDIS_PASSWORD: " two blanks ", REDIS_PREFIX: " chat " };
  expect(readEnvironment(env)).toEqual({
    ...{ REDIS_URL: "redis://r", REDIS_PASSWORD: " two blanks ", REDIS_PREFIX: "chat" },
  });
});

test.each([
  ["default:1,default:2", "the same queue twice"],
  ["default:0", "no run at once"],
  ["default:10001", "more than there may be"],
  ["a b", "no name"],
  [",", "none"],
])("queues cannot be %j: %s", (queues) => {
  expect(faultsOf({ QUEUES: queues })).toEqual([expect.stringMatching(/^QUEUES must be .*queue/)]);
});

test("queues may be as many at once as they may, and a level needs a pattern", () => {
  expect(readQueues("default:10000,heavy")).toEqual({ default: 10_000, heavy: 10 });
  expect(faultsOf({ LOG_LEVELS: "=debug" })).toEqual([expect.stringContaining("patterns of routes")]);
});

test.each(["99ms", "0s", "61m", "3601s", "1h", "5", "s", "-5s", "1.5s"])("a time cannot be %j", (time) => {
  expect(() => readDuration(time)).toThrow("a time from 100ms to 60m");
});

test("a time from a tenth of a second to an hour can", () => {
  expect(["100ms", "5s", "60m"].map(readDuration)).toEqual([100, 5_000, 3_600_000]);
});

test.each([
  ["what was meant is set as well", { REDIS_ULR: "x", REDIS_URL: "redis://r" }],
  ["it is too short to be told from others' names", { PORTS: "1", HOTS: "x", QUEUE: "x" }],
  ["it is no word", { SLUICE_: "x" }],
  ["it has no value", { LOG_LEVLE: "" }],
])("a name that is close to one of ours is not ours where %s", (_why, env) => {
  expect(faultsOf(env as Readonly<Record<string, string>>)).toEqual([]);
});
