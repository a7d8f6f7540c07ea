/** Every route of the demo, with a door of tokens in front, against all who have no business there. */
import { generateKeyPairSync } from "node:crypto";
import { expect, test } from "@jest/globals";
import { SignJWT } from "jose";
import { type Application, createApplication } from "sluice";
import { bearerToken, MemoryRevocations, requireUser } from "sluice/middleware";
import { createServer } from "sluice/server";
import { MemoryBroker, Tasks } from "sluice/tasks";
import { Diary } from "../../consumers/diary.ts";
import { groups } from "../../routing/groups.ts";
import { guestInfo } from "../../routing/guests.ts";
import { chatRoutes } from "../../routing/routes.ts";
import { work } from "../../routing/tasks.ts";
import { atEnd, refusalOf, stock } from "../server/live-server.ts";

const SECRET = "a secret of the test, of more than 32 characters";
const ORIGIN = "https://chat.example";
const RULES = { audience: "chat", issuer: "https://login.example" };

interface Given {
  readonly endsInS?: number;
  readonly sub?: string;
  readonly key?: Uint8Array;
}

function token({ endsInS = 600, sub = "ann", key = new TextEncoder().encode(SECRET) }: Given = {}) {
  const now = Math.floor(Date.now() / 1_000);
  return new SignJWT({ aud: RULES.audience, iss: RULES.issuer })
    .setProtectedHeader({ alg: "HS256" })
    .setSubject(sub)
    .setIssuedAt(now - 1_000)
    .setExpirationTime(now + endsInS)
    .sign(key);
}

/** The demo as `routing/app.ts` composes it, behind `bearerToken`. */
async function guarded() {
  const revocations = new MemoryRevocations();
  const broker = new MemoryBroker();
  const app = createApplication({
    middleware: [bearerToken({ ...RULES, secret: SECRET, isRevoked: revocations.isRevoked }), requireUser()],
    routes: chatRoutes({ diary: new Diary() }) as never,
    groups,
    userInfo: guestInfo,
    secret: SECRET,
    parts: [new Tasks({ ...work, broker })],
  });
  const server = createServer(app, { port: 0, origins: [ORIGIN], allowMissingOrigin: false });
  atEnd(() => server.stop({ atOnce: true }));
  const { url } = await server.listen();
  return { app, url, revocations };
}

type Guarded = Awaited<ReturnType<typeof guarded>>;
type Resolved = Application["router"]["routes"][number];

/** The table in the words of a path: every parameter is a word that its converter takes. */
function pathOf({ pattern }: Resolved): string {
  return pattern.replace(/:[A-Za-z_]\w*(\(int\))?\??/g, (_all, int: string | undefined) =>
    int === undefined ? "word" : "7",
  );
}

interface Caller {
  readonly origin?: string;
  readonly token?: string;
}

/** What the caller is told: a close code, or a status of HTTP. */
async function told({ url }: Guarded, route: Resolved, caller: Caller): Promise<unknown> {
  const headers = caller.origin === undefined ? {} : { origin: caller.origin };
  const bearer = caller.token === undefined ? {} : { authorization: `Bearer ${caller.token}` };
  if (route.kind === "socket") {
    const socket = stock(url + pathOf(route), {
      transports: ["websocket"],
      extraHeaders: headers,
      auth: caller.token === undefined ? {} : { token: caller.token },
    });
    const { data, message } = await refusalOf(socket);
    return (data as { code?: number } | undefined)?.code ?? message;
  }
  const method = route.kind === "http" ? (route.methods[0] ?? "GET") : "GET";
  const answer = await fetch(url + pathOf(route), { method, headers: { ...headers, ...bearer } });
  await answer.text();
  // A page of another origin could not read it, whatever it says.
  expect([null, ORIGIN]).toContain(answer.headers.get("access-control-allow-origin"));
  return answer.status;
}

const forger = new TextEncoder().encode("another secret, of somebody who guesses at ours");
interface Refusal {
  readonly who: string;
  readonly caller: () => Promise<Caller>;
  readonly socket: number | string;
  readonly sse: number;
  /** Its routes are for programs, too, which send no origin: a ticket is what they ask for. */
  readonly http: number;
}

const CALLERS: readonly Refusal[] = [
  {
    who: "who sends no origin",
    caller: async () => ({ token: await token() }),
    ...{ socket: "websocket error", sse: 403, http: 403 },
  },
  {
    who: "a page of a foreign origin",
    caller: async () => ({ origin: "https://evil.example", token: await token() }),
    ...{ socket: "websocket error", sse: 403, http: 403 },
  },
  {
    who: "who has no token",
    caller: async () => ({ origin: ORIGIN }),
    ...{ socket: 4401, sse: 401, http: 401 },
  },
  {
    who: "who has an expired token",
    caller: async () => ({ origin: ORIGIN, token: await token({ endsInS: -60 }) }),
    ...{ socket: 4510, sse: 401, http: 401 },
  },
  {
    who: "who forged a token",
    caller: async () => ({ origin: ORIGIN, token: await token({ key: forger }) }),
    ...{ socket: 4401, sse: 401, http: 401 },
  },
  {
    who: "who signed a token with a key of their own",
    caller: async () => {
      const jwt = await new SignJWT({ aud: RULES.audience, iss: RULES.issuer })
        .setProtectedHeader({ alg: "RS256" })
        .setSubject("ann")
        .setExpirationTime("1h")
        .sign(generateKeyPairSync("rsa", { modulusLength: 2_048 }).privateKey);
      return { origin: ORIGIN, token: jwt };
    },
    ...{ socket: 4401, sse: 401, http: 401 },
  },
  {
    who: "who is revoked",
    caller: async () => ({ origin: ORIGIN, token: await token({ sub: "eve" }) }),
    ...{ socket: 4401, sse: 401, http: 401 },
  },
];

test.each(CALLERS)("$who is refused by every route of the demo", async ({ caller, ...expected }) => {
  const demo = await guarded();
  await demo.revocations.revokeUser(demo.app, "eve");
  const { routes } = demo.app.router;
  expect(routes.map(({ kind }) => kind)).toEqual(expect.arrayContaining(["socket", "sse", "http"]));
  const calling = await caller();
  const answers = await Promise.all(
    routes.map(async (route) => [route.kind, route.pattern, await told(demo, route, calling)]),
  );
  expect(answers).toEqual(routes.map(({ kind, pattern }) => [kind, pattern, expected[kind]]));
  expect(demo.app.sizes.connections).toBe(0);
});

test("with all that is asked for the door opens, and only then do the routes look", async () => {
  const demo = await guarded();
  const calling = { origin: ORIGIN, token: await token() };
  const { routes } = demo.app.router;
  const chat = routes.find(({ pattern }) => pattern === "/chat/:room") as Resolved;
  // A guest without a name: the demo's own middleware says so.
  expect(await told(demo, chat, calling)).toBe(4400);
});
