/** Who comes in, and who does not: the page, the namespace and what is done have one check. */
import { get, type IncomingMessage } from "node:http";
import { describe, expect, test } from "@jest/globals";
import { ConfigurationError, MemoryHub } from "sluice";
import { dashboard } from "sluice/dashboard";
import { DashboardSessions } from "../../src/dashboard/sessions.ts";
import { connected, heard, refusalOf, until } from "../server/live-server.ts";
import { eventually, login, node, Operator, open, PASSWORD, tokenOf } from "./scene.ts";

const SECRET = "a secret that all nodes of a test share";

describe("Without a password and without a rule", () => {
  test("there is neither page nor namespace nor login", async () => {
    const live = await node({ password: undefined });
    expect((await fetch(`${live.url}/dashboard`)).status).toBe(404);
    expect((await fetch(`${live.url}/dashboard/files/app.js`)).status).toBe(404);
    expect((await login(live)).status).toBe(404);
    expect(await refusalOf(open(live, {}))).toMatchObject({ message: "Invalid namespace" });
  });

  test("an empty variable of the environment is none", async () => {
    const live = await node({ password: "" });
    expect((await fetch(`${live.url}/dashboard`)).status).toBe(404);
  });
});

test("options that cannot be are refused all at once, and the password is not shown", () => {
  const wrong = { password: "short1", path: "dash board", reportMs: 1, allow: true, pasword: "x" };
  const failure = (() => {
    try {
      dashboard(wrong as never);
    } catch (error) {
      return error as ConfigurationError;
    }
    throw new Error("it was taken");
  })();
  expect(failure).toBeInstanceOf(ConfigurationError);
  expect(failure.message).toContain('did you mean "password"');
  expect(failure.message).not.toContain("short1");
});

describe("With a password", () => {
  test("the page is the login, and after it the dashboard", async () => {
    const live = await node();
    const before = await fetch(`${live.url}/dashboard`);
    expect(await before.text()).toContain("Log in");
    const { status, cookie, response } = await login(live);
    expect(status).toBe(204);
    const [line] = response.headers.getSetCookie();
    expect(line).toMatch(/HttpOnly/);
    expect(line).toMatch(/SameSite=Strict/);
    const page = await fetch(`${live.url}/dashboard`, { headers: { cookie } });
    expect(await page.text()).toContain('src="dashboard/files/app.js"');
    const policy = page.headers.get("content-security-policy");
    expect(policy).toContain("default-src 'none'");
    expect(policy).not.toContain("unsafe");
    expect(policy).toContain("require-trusted-types-for 'script'");
    for (const none of ["base-uri", "form-action", "frame-ancestors"])
      expect(policy).toContain(`${none} 'none'`);
    expect(page.headers.get("cache-control")).toBe("no-store");
    expect(page.headers.get("x-frame-options")).toBe("DENY");
  });

  test.each(["evil.example; script-src *", "evil.example script-src", "a,b", "<b>", "'self'"])(
    "whoever calls the server %j writes no rule of the page's policy",
    async (host) => {
      const { port } = await node();
      const { headers } = await new Promise<IncomingMessage>((resolve, reject) => {
        get({ port, host: "127.0.0.1", path: "/dashboard", headers: { host }, agent: false }, (response) => {
          response.resume();
          resolve(response);
        }).on("error", reject);
      });
      expect(headers["content-security-policy"]).toContain("connect-src 'self'; base-uri");
    },
  );

  test("over TLS that a proxy ends the cookie is for TLS alone", async () => {
    const live = await node();
    const origin = `https://127.0.0.1:${live.port}`;
    const { response } = await login(live, PASSWORD, { origin });
    expect(response.headers.getSetCookie()[0]).toMatch(/Secure/);
  });

  test("a wrong one is refused and leaves a line of audit without it", async () => {
    const live = await node();
    const { status, cookie } = await login(live, "open, salami!");
    expect([status, cookie]).toEqual([401, ""]);
    expect(live.audits).toEqual([
      {
        action: "login",
        target: "",
        by: "password",
        remoteAddress: "127.0.0.1",
        outcome: "refused",
        reason: "wrong password",
      },
    ]);
  });

  test.each([[null], [{}], [[PASSWORD]], [7], [`{"__proto__":{"password":"${PASSWORD}"}}`]])(
    "what is no text is no password: %j",
    async (password) => {
      expect((await login(await node(), password)).status).toBe(401);
    },
  );

  test("after some tries an address waits, whether right or wrong, and others do not", async () => {
    const live = await node({ server: { trustedProxies: 1 } });
    const from = (address: string) => ({ "x-forwarded-for": address });
    for (let n = 0; n < 5; n += 1) {
      expect((await login(live, `wrong ${n}`, from("203.0.113.7"))).status).toBe(401);
    }
    const late = await login(live, PASSWORD, from("203.0.113.7"));
    expect(late.status).toBe(429);
    expect(Number(late.response.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(late.cookie).toBe("");
    expect((await login(live, PASSWORD, from("203.0.113.8"))).status).toBe(204);
    // One client has a whole /64 to choose from.
    for (let n = 0; n < 5; n += 1) await login(live, "wrong", from(`2001:db8::${n + 1}`));
    expect((await login(live, PASSWORD, from("2001:db8::ffff"))).status).toBe(429);
  });

  test("a body that is too large, or no JSON, is refused", async () => {
    const live = await node();
    expect((await login(live, "x".repeat(10_000))).status).toBe(413);
    expect((await login(live, "{not json")).status).toBe(400);
  });

  test("a form of another site cannot log anybody in", async () => {
    const live = await node();
    const statuses = await Promise.all([
      login(live, PASSWORD, { origin: "https://evil.example" }),
      login(live, PASSWORD, { origin: "null" }),
      login(live, PASSWORD, { "sec-fetch-site": "cross-site" }),
      login(live, PASSWORD, { "sec-fetch-site": "same-site" }),
      login(live, PASSWORD, { "content-type": "text/plain" }),
      login(live, PASSWORD, { "content-type": "application/x-www-form-urlencoded" }),
    ]);
    expect(statuses.map(({ status }) => status)).toEqual(Array(6).fill(403));
  });

  test("the namespace takes the page's cookie with the page's token, and nothing less", async () => {
    const live = await node();
    const { cookie } = await login(live);
    const token = await tokenOf(live, cookie);
    const extraHeaders = { cookie };
    const refusals = await Promise.all([
      refusalOf(open(live, {})),
      refusalOf(open(live, { token })),
      refusalOf(open(live, {}, { extraHeaders })),
      refusalOf(open(live, { token: altered(token) }, { extraHeaders })),
      refusalOf(open(live, { token: [token] }, { extraHeaders })),
      refusalOf(open(live, { token }, { extraHeaders: { cookie: altered(cookie) } })),
      refusalOf(open(live, { token }, { extraHeaders: { cookie, "sec-fetch-site": "cross-site" } })),
    ]);
    const codes = refusals.map(
      ({ data, message }) => (data as { code: number } | undefined)?.code ?? message,
    );
    // The last does not even get a connection.
    expect(codes).toEqual([4401, 4401, 4403, 4403, 4403, 4401, "websocket error"]);
    await connected(open(live, { token }, { extraHeaders }));
  });

  test("a page that the application lets connect is not let into the dashboard", async () => {
    const live = await node({ server: { origins: ["*"] } });
    const { cookie } = await login(live);
    const token = await tokenOf(live, cookie);
    const origin = "https://evil.example";
    const refusal = await refusalOf(open(live, { token }, { extraHeaders: { cookie, origin } }));
    expect(refusal.data).toMatchObject({ code: 4403 });
    // Nor can it read the token.
    const stolen = await fetch(`${live.url}/dashboard/session`, { headers: { cookie, origin } });
    expect(stolen.status).toBe(204);
  });

  test("the token of one login is not that of another", async () => {
    const live = await node();
    const [one, other] = [(await login(live)).cookie, (await login(live)).cookie];
    const extraHeaders = { cookie: one };
    const refusal = await refusalOf(open(live, { token: await tokenOf(live, other) }, { extraHeaders }));
    expect(refusal.data).toMatchObject({ code: 4403 });
  });

  test("a login holds at all nodes, and a logout ends it at all, with all that is open by it", async () => {
    const hub = new MemoryHub();
    const [one, two] = [await node({ hub }), await node({ hub })];
    const operator = await Operator.at(one);
    const elsewhere = await Operator.at(two, operator.cookie);
    const goodbyes = [operator, elsewhere].map(({ socket }) =>
      heard<[{ code: number }]>(socket, "sluice.close"),
    );
    const unproven = await fetch(`${one.url}/dashboard/logout`, {
      method: "POST",
      headers: { cookie: operator.cookie },
    });
    expect(unproven.status).toBe(403);
    const foreign = await fetch(`${one.url}/dashboard/logout`, {
      method: "POST",
      headers: {
        ...{ cookie: operator.cookie, "dashboard-token": operator.token },
        origin: "https://evil.example",
      },
    });
    expect(foreign.status).toBe(403);
    const headers = { cookie: operator.cookie, "dashboard-token": operator.token, origin: one.url };
    const response = await fetch(`${one.url}/dashboard/logout`, { method: "POST", headers });
    expect(response.status).toBe(204);
    expect(response.headers.getSetCookie()[0]).toMatch(/^sluice_dashboard=;.*Expires=Thu, 01 Jan 1970/);
    for (const [{ code }] of await Promise.all(goodbyes)) expect(code).toBe(4401);
    for (const live of [one, two]) {
      const extraHeaders = { cookie: operator.cookie };
      const refusal = await refusalOf(open(live, { token: operator.token }, { extraHeaders }));
      expect(refusal.data).toMatchObject({ code: 4401 });
    }
    expect(one.audits.map(({ action, outcome }) => `${action} ${outcome}`)).toEqual([
      "login done",
      "logout done",
    ]);
  });

  test("a node that begins after a logout learns of it from the others", async () => {
    const hub = new MemoryHub();
    const one = await node({ hub });
    const operator = await Operator.at(one);
    const other = (await login(one)).cookie;
    const headers = { cookie: operator.cookie, "dashboard-token": operator.token, origin: one.url };
    expect((await fetch(`${one.url}/dashboard/logout`, { method: "POST", headers })).status).toBe(204);
    const late = await node({ hub });
    const isKnown = async (cookie: string) =>
      (await fetch(`${late.url}/dashboard/session`, { headers: { cookie } })).status === 200;
    await eventually(async () => !(await isKnown(operator.cookie)), "it knows of the logout");
    expect(await isKnown(other)).toBe(true);
  });

  test("a login ends by itself, and what is open by it is closed", async () => {
    const live = await node({ sessionMs: 1_000 });
    const operator = await Operator.at(live);
    const [{ code, reason }] = await heard<[{ code: number; reason: string }]>(
      operator.socket,
      "sluice.close",
    );
    expect([code, reason]).toEqual([4401, "the login is over"]);
    const page = await fetch(`${live.url}/dashboard`, { headers: { cookie: operator.cookie } });
    expect(await page.text()).toContain("Log in");
  });

  test("only files of the page are served, whatever is asked for", async () => {
    const live = await node();
    for (const name of [
      "app.html",
      "..%2Findex.ts",
      "%2e%2e%2fsessions.ts",
      "__proto__",
      "constructor",
      "hub.ts",
    ]) {
      expect([name, (await fetch(`${live.url}/dashboard/files/${name}`)).status]).toEqual([name, 404]);
    }
    const script = await fetch(`${live.url}/dashboard/files/app.js`);
    expect(script.headers.get("content-type")).toContain("javascript");
    expect((await fetch(`${live.url}/dashboard/files/uPlot.esm.js`)).status).toBe(200);
  });
});

describe("With a rule", () => {
  test("whom it lets in sees the page without a login, and is named in the audit", async () => {
    const live = await node({
      password: undefined,
      allow: (scope) => scope.query.get("as") ?? scope.headers["x-as"] === "ops",
    });
    expect((await fetch(`${live.url}/dashboard`)).status).toBe(403);
    const page = await fetch(`${live.url}/dashboard?as=carol`);
    expect(page.status).toBe(200);
    const [cookie = ""] = page.headers.getSetCookie().map((line) => line.split(";")[0] as string);
    // The cookie alone lets nobody in.
    const headers = { cookie };
    expect((await fetch(`${live.url}/dashboard/session`, { headers })).status).toBe(204);
    const session = await fetch(`${live.url}/dashboard/session?as=carol`, { headers });
    const { who, token } = (await session.json()) as { who: string; token: string };
    expect(who).toBe("carol");
    const refusal = await refusalOf(open(live, { token }, { extraHeaders: headers }));
    expect(refusal.data).toMatchObject({ code: 4401 });
    const socket = await connected(open(live, { token }, { extraHeaders: headers, query: { as: "carol" } }));
    await socket.emitWithAck("act", { action: "disconnect user", target: "eve" });
    expect(live.audits).toEqual([
      { action: "disconnect user", target: "eve", by: "carol", remoteAddress: "127.0.0.1", outcome: "done" },
    ]);
  });

  test.each([[{}], [1], [[]], [""], [null], [undefined]])(
    "that says neither yes nor who it is lets nobody in: %j",
    async (answer) => {
      const live = await node({ password: undefined, allow: () => answer as never });
      expect((await fetch(`${live.url}/dashboard`)).status).toBe(403);
    },
  );

  test("and a password both are needed", async () => {
    const live = await node({ allow: ({ headers }) => headers["x-as"] === "ops" });
    expect((await login(live)).status).toBe(403);
    expect((await login(live, PASSWORD, { "x-as": "ops" })).status).toBe(204);
  });

  test("that changes its mind is asked again for each action", async () => {
    let isAllowed = true;
    const live = await node({ allow: () => isAllowed });
    const operator = await Operator.at(live);
    isAllowed = false;
    const answer = await operator.act("disconnect user", "eve");
    expect(answer.error).toMatchObject({ code: "connection_denied" });
    await until(() => live.audits.some(({ outcome }) => outcome === "refused"), "it is told");
  });

  test("that throws in the middle lets nobody act, and what was asked for is told", async () => {
    let isThere = true;
    const live = await node({
      allow: () => {
        if (isThere) return "ann";
        throw new Error("the directory is down");
      },
    });
    const operator = await Operator.at(live);
    isThere = false;
    const answer = await operator.act("disconnect user", "eve");
    expect(answer.error).toMatchObject({ code: "internal_error" });
    expect(live.audits.at(-1)).toMatchObject({
      ...{ action: "disconnect user", target: "eve", by: "nobody" },
      ...{ outcome: "failed", reason: "the directory is down" },
    });
  });

  test("that throws lets nobody in", async () => {
    const live = await node({
      allow: () => {
        throw new Error("the directory is down");
      },
    });
    const failed = heardFailure(live.app.signals.failed);
    expect((await fetch(`${live.url}/dashboard`)).status).toBe(500);
    expect(await failed).toMatchObject({ message: "the directory is down" });
  });
});

/** In its last character, whichever that is. */
function altered(text: string): string {
  return `${text.slice(0, -1)}${text.endsWith("A") ? "B" : "A"}`;
}

function heardFailure(signal: {
  connect(receiver: (fact: { error: unknown }) => void): () => void;
}): Promise<unknown> {
  return new Promise((resolve) => {
    const end = signal.connect(({ error }) => {
      end();
      resolve(error);
    });
  });
}

describe("A session", () => {
  test("is of its password and its secret, and of nothing that is near them", () => {
    const { cookie, session } = new DashboardSessions(PASSWORD, [SECRET], 60_000).issue();
    expect(new DashboardSessions(PASSWORD, [SECRET], 60_000).check(cookie)).toEqual(session);
    expect(
      new DashboardSessions(PASSWORD, ["another secret of 32 characters!!", SECRET], 60_000).check(cookie),
    ).toEqual(session);
    expect(new DashboardSessions(`${PASSWORD}!`, [SECRET], 60_000).check(cookie)).toBeUndefined();
    expect(new DashboardSessions(PASSWORD, [], 60_000).check(cookie)).toBeUndefined();
  });

  test("cannot be lengthened, nor made of something else", () => {
    const sessions = new DashboardSessions(PASSWORD, [SECRET], 60_000);
    const { cookie, session } = sessions.issue();
    const [, id, signature] = cookie.split(".");
    for (const forged of [
      `${session.endsAt + 1}.${id}.${signature}`,
      `${session.endsAt}.${id}`,
      `${session.endsAt}.${id}.`,
      "",
      "__proto__",
      "x".repeat(100_000),
    ]) {
      expect(sessions.check(forged)).toBeUndefined();
    }
    expect(sessions.check(cookie, session.endsAt + 1)).toBeUndefined();
  });

  test("that was ended is ended at a node whose clock is behind, too", () => {
    const [ahead, behind] = [0, 1].map(() => new DashboardSessions(PASSWORD, [SECRET], 60_000)) as [
      DashboardSessions,
      DashboardSessions,
    ];
    const now = Date.now();
    const { cookie, session } = ahead.issue(now + 5_000);
    behind.end(session, now);
    expect(behind.check(cookie, now)).toBeUndefined();
    expect(behind.check(cookie, now + 62_000)).toBeUndefined();
  });

  test("that was ended is remembered, and so many of them", () => {
    const sessions = new DashboardSessions(PASSWORD, [SECRET], 60_000);
    const now = Date.now();
    const { cookie, session } = sessions.issue(now);
    sessions.end(session, now);
    expect(sessions.check(cookie, now)).toBeUndefined();
    for (let n = 0; n < 20_000; n += 1) sessions.end({ id: `s-${n}`, endsAt: now + 50_000 }, now);
    // Beyond the bound the one that was told first is forgotten; it is over within its time all the same.
    expect(sessions.check(cookie, now)).toEqual(session);
  });

  test("that was ended is not forgotten for others that are over anyway", () => {
    const sessions = new DashboardSessions(PASSWORD, [SECRET], 60_000);
    const now = Date.now();
    for (let n = 0; n < 10_000; n += 1) sessions.end({ id: `over-${n}`, endsAt: now + 1_000 }, now);
    const later = now + 2_000;
    const { cookie, session } = sessions.issue(later);
    sessions.end(session, later);
    for (let n = 0; n < 9_999; n += 1) sessions.end({ id: `s-${n}`, endsAt: later + 50_000 }, later);
    expect(sessions.check(cookie, later)).toBeUndefined();
  });
});
