import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect } from "@jest/globals";
import { createClient } from "redis";
import { RedisBackplane, type RedisBackplaneOptions } from "sluice/redis";
import { backplaneExam } from "sluice/testing";
import { deaf } from "../layer/deaf.ts";
import { certificate, key } from "../server/certificate.ts";
import { freePort, hasRedis, RedisGroup, RedisServer, redisTest, until } from "./redis-server.ts";

const PASSWORD = "p#a$s%w/o:r@d?";

const nodes: RedisBackplane[] = [];

function nodeAt(options: RedisBackplaneOptions): RedisBackplane {
  const node = new RedisBackplane({ connectTimeoutMs: 3_000, ...options });
  nodes.push(node);
  return node;
}

/** Two nodes that reach Redis in this way hear each other. */
async function expectToWork(options: RedisBackplaneOptions): Promise<void> {
  const heard: string[] = [];
  const [ann, bob] = [nodeAt(options), nodeAt(options)];
  await ann.open(deaf);
  await bob.open({ ...deaf, hear: (_, text) => heard.push(text) });
  await bob.subscribe("t");
  ann.publish("t", () => "hello");
  await until(() => heard.length > 0);
  expect(heard).toEqual(["hello"]);
}

/** What a node says that cannot begin; it must never hold the password. */
async function faultOf(options: RedisBackplaneOptions): Promise<string> {
  const error = await nodeAt(options)
    .open(deaf)
    .then(
      () => undefined,
      (error: Error) => error,
    );
  expect(error).toMatchObject({ code: "configuration" });
  const told = `${error?.message} ${error?.stack} ${JSON.stringify(error)}`;
  for (const secret of [PASSWORD, encodeURIComponent(PASSWORD), "wrong-password"]) {
    expect(told).not.toContain(secret);
  }
  return (error as Error).message;
}

afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()));
});

describe("one server, with a password of the worst kind", () => {
  let redis: RedisServer;
  let tlsPort: number;
  let socketPath: string;

  beforeAll(async () => {
    if (!hasRedis) return;
    tlsPort = await freePort();
    socketPath = join(process.env.TMPDIR ?? "/tmp", `redis-${process.pid}-${tlsPort}.sock`);
    const folder = await certificateFolder();
    redis = await RedisServer.start(
      ...["--requirepass", PASSWORD, "--unixsocket", socketPath, "--tls-port", String(tlsPort)],
      ...["--tls-cert-file", join(folder, "cert.pem"), "--tls-key-file", join(folder, "key.pem")],
      ...["--tls-auth-clients", "no"],
    );
  });
  afterAll(() => redis?.close());

  redisTest("is reached by a URL with the password as it is", () =>
    expectToWork({ url: `redis://:${PASSWORD}@127.0.0.1:${redis.port}` }),
  );
  redisTest("is reached by a URL with the password encoded, and a user and a database", () =>
    expectToWork({ url: `redis://default:${encodeURIComponent(PASSWORD)}@127.0.0.1:${redis.port}/3` }),
  );
  redisTest("is reached by a URL and the password apart, which wins over the URL's", async () => {
    await expectToWork({ url: `redis://127.0.0.1:${redis.port}`, password: PASSWORD });
    await expectToWork({ url: `redis://:wrong@localhost:${redis.port}`, password: PASSWORD });
  });
  redisTest("is reached by host, port, password and database", () =>
    expectToWork({ host: "127.0.0.1", port: redis.port, password: PASSWORD, database: 2 }),
  );
  redisTest("is reached by its socket, in either form", async () => {
    await expectToWork({ socketPath, password: PASSWORD });
    await expectToWork({ url: `unix://:${PASSWORD}@${socketPath}` });
  });
  redisTest("is reached by TLS, in either form", async () => {
    await expectToWork({ url: `rediss://:${PASSWORD}@127.0.0.1:${tlsPort}`, tls: { ca: certificate } });
    await expectToWork({ port: tlsPort, password: PASSWORD, tls: { ca: certificate } });
  });

  redisTest("a wrong password and a missing one are told at the start", async () => {
    const { url } = redis;
    expect(await faultOf({ url, password: "wrong-password" })).toMatch(/password is wrong.*REDIS_PASSWORD/);
    expect(await faultOf({ url })).toMatch(/wants a password.*REDIS_PASSWORD/);
    expect(await faultOf({ url: `redis://nobody:${PASSWORD}@127.0.0.1:${redis.port}` })).toMatch(/is wrong/);
  });
  redisTest("TLS that does not fit is told at the start", async () => {
    const password = PASSWORD;
    expect(await faultOf({ port: tlsPort, password, tls: true })).toMatch(
      /certificate is not trusted.*tls.ca/,
    );
    expect(await faultOf({ port: redis.port, password, tls: true })).toMatch(/does not answer.*speaks TLS/);
    expect(await faultOf({ port: tlsPort, password })).toMatch(/cannot be reached/);
  });
  redisTest("a single server is no cluster and no sentinel", async () => {
    const at = `:${PASSWORD}@127.0.0.1:${redis.port}`;
    expect(await faultOf({ url: `redis+cluster://${at}` })).toMatch(/it is no cluster/);
    expect(await faultOf({ url: `redis+sentinel://${at}/mymaster` })).toMatch(/mymaster/);
  });
});

describe("what is not there", () => {
  redisTest("a port where nothing listens", async () => {
    expect(await faultOf({ port: await freePort() })).toMatch(
      /nothing answers.*127\.0\.0\.1:\d+|127.*nothing/,
    );
  });
  redisTest("a host that is unknown", async () => {
    expect(await faultOf({ url: "redis://no-such-host.invalid" })).toMatch(/host is unknown/);
  });
  redisTest("a socket that is none", async () => {
    expect(await faultOf({ socketPath: "/nowhere/redis.sock" })).toMatch(/no such socket/);
  });
  redisTest("a server that accepts and never answers", async () => {
    const redis = await RedisServer.start();
    redis.freeze();
    expect(await faultOf({ url: redis.url, connectTimeoutMs: 300 })).toMatch(/does not answer/);
    await redis.close();
  });
  redisTest("a password for a server that asks for none does no harm", async () => {
    const redis = await RedisServer.start();
    await expectToWork({ url: redis.url, password: "wrong-password" });
    await redis.close();
  });
  redisTest("a Redis without sharded publish/subscribe, as those before 7.0", async () => {
    const redis = await RedisServer.start("--rename-command", "SSUBSCRIBE", "");
    expect(await faultOf({ url: redis.url })).toMatch(/Redis 7\.0 or newer/);
    await redis.close();
  });
});

describe("a user with few rights", () => {
  let redis: RedisServer;

  beforeAll(async () => {
    if (hasRedis) redis = await RedisServer.start();
  });
  afterAll(() => redis?.close());

  async function setUser(name: string, ...rules: string[]): Promise<void> {
    const admin = await createClient({ url: redis.url }).connect();
    await admin.sendCommand(["ACL", "SETUSER", name, "reset", "on", `>${PASSWORD}`, ...rules]);
    admin.destroy();
  }

  redisTest("what the fault says it needs is enough, and each part of it is needed", async () => {
    const options = { url: redis.url, username: "sluice", password: PASSWORD, prefix: "shop" };
    await setUser("sluice");
    const fault = await faultOf(options);
    const rules = /ACL SETUSER sluice (.*)$/.exec(fault)?.[1]?.split(" ") ?? [];
    expect(rules).toContain("&shop#*");
    await setUser("sluice", ...rules);
    await expectToWork(options);
    for (const rule of rules.filter((part) => /^[+&]/.test(part) && part !== "+hello")) {
      await setUser("sluice", ...rules.filter((other) => other !== rule));
      if (rule === "+sunsubscribe") continue;
      expect(`without ${rule}: ${await faultOf(options)}`).toMatch(/may not do what is needed/);
    }
  });
});

describe("Sentinel", () => {
  let group: RedisGroup;

  beforeAll(async () => {
    if (hasRedis) group = await RedisGroup.sentinel(PASSWORD);
  }, 30_000);
  afterAll(() => group?.close());

  const port = () => group.servers[2]?.port as number;
  const sentinelOptions = () => ({
    password: PASSWORD,
    sentinel: { master: "mymaster", nodes: [{ host: "127.0.0.1", port: port() }], password: PASSWORD },
  });

  redisTest("finds the master", () => expectToWork(sentinelOptions()));
  redisTest("finds the master by a URL, whose password is for Redis", () =>
    expectToWork({
      url: `redis+sentinel://:${PASSWORD}@127.0.0.1:${port()}/mymaster`,
      sentinel: { password: PASSWORD },
    }),
  );
  redisTest("an unknown master and wrong passwords are told at the start", async () => {
    const { sentinel } = sentinelOptions();
    expect(await faultOf({ password: PASSWORD, sentinel: { ...sentinel, master: "other" } })).toMatch(
      /other/,
    );
    expect(await faultOf({ password: "wrong-password", sentinel })).toMatch(/password is wrong/);
    expect(
      await faultOf({ password: PASSWORD, sentinel: { ...sentinel, password: "wrong-password" } }),
    ).toMatch(/password is wrong/);
    expect(
      await faultOf({ sentinel: { ...sentinel, nodes: [{ host: "127.0.0.1", port: await freePort() }] } }),
    ).toMatch(/sentinels 127/);
  });
});

describe("a Redis Cluster", () => {
  let group: RedisGroup;
  let clusters = 0;

  beforeAll(async () => {
    if (hasRedis) group = await RedisGroup.cluster(3, 0, "--requirepass", PASSWORD);
  }, 30_000);
  afterAll(() => group?.close());

  redisTest("is reached by one of its nodes", () =>
    expectToWork({
      cluster: { nodes: [{ host: "127.0.0.1", port: group.servers[1]?.port as number }] },
      password: PASSWORD,
    }),
  );
  redisTest("is reached by a URL, also if some of the nodes named are gone", async () => {
    const gone = await freePort();
    await expectToWork({ url: `redis+cluster://:${PASSWORD}@127.0.0.1:${gone},${group.hosts}` });
  });
  redisTest("a node of a cluster is not a single server", async () => {
    expect(await faultOf({ port: group.servers[0]?.port as number, password: PASSWORD })).toMatch(
      /part of a cluster.*redis\+cluster/,
    );
  });
  redisTest("a wrong password is told at the start", async () => {
    expect(await faultOf({ url: `redis+cluster://:wrong-password@${group.hosts}` })).toMatch(
      /password is wrong/,
    );
  });

  redisTest("a user with few rights is told what it needs here, and that is enough", async () => {
    const setUser = async (...rules: string[]) => {
      for (const { port } of group.servers) {
        const admin = await createClient({ socket: { port }, password: PASSWORD }).connect();
        await admin.sendCommand(["ACL", "SETUSER", "sluice", "reset", "on", `>${PASSWORD}`, ...rules]);
        admin.destroy();
      }
    };
    const options = { url: `redis+cluster://${group.hosts}`, username: "sluice", password: PASSWORD };
    await setUser();
    const rules = /ACL SETUSER sluice (.*)$/.exec(await faultOf(options))?.[1]?.split(" ") ?? [];
    await setUser(...rules);
    await expectToWork(options);
    for (const rule of ["+cluster|slots", "+spublish"]) {
      await setUser(...rules.filter((other) => other !== rule));
      expect(await faultOf(options)).toMatch(/may not do what is needed/);
    }
  });

  const makeCluster = () => {
    clusters += 1;
    const prefix = `exam-${clusters}`;
    return {
      node: () => nodeAt({ url: `redis+cluster://${group.hosts}`, password: PASSWORD, prefix }),
      close: async () => {},
    };
  };
  for (const { name, run } of backplaneExam(makeCluster)) redisTest(name, run);
});

async function certificateFolder(): Promise<string> {
  const { mkdtemp, writeFile } = await import("node:fs/promises");
  const folder = await mkdtemp(join(process.env.TMPDIR ?? "/tmp", "certificate-"));
  await writeFile(join(folder, "cert.pem"), certificate);
  await writeFile(join(folder, "key.pem"), key);
  return folder;
}
