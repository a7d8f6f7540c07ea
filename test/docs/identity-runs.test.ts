/** What the page of authentication shows runs as it stands, and does what it says. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { blockOf, complete, Project } from "../guides.ts";
import { RedisServer, redisTest } from "../redis/redis-server.ts";
import { atEnd } from "../server/live-server.ts";
import { surroundingsOf } from "./surroundings.ts";

jest.setTimeout(90_000);

let project: Project;

beforeAll(async () => {
  project = await Project.make("socket.io-client", "express-session", "jose");
});
afterAll(() => project.close());

/** Runs code with all that it takes for granted on that page; what it wrote, line by line. */
async function tried(code: string, env: Readonly<Record<string, string>> = {}): Promise<readonly string[]> {
  const whole = await complete(code.replace(/^ {4}/gm, ""), surroundingsOf("docs/authentication.md"));
  return (await project.run(whole, { env })).trimEnd().split("\n");
}

async function redis(): Promise<string> {
  const server = await RedisServer.start();
  atEnd(() => server.close());
  return server.url;
}

const SECRET = 'const secret = "a secret that all nodes of the page share";';
/** Issues tokens that the page's rules take. */
const ISSUER = `
    const [issuer, audience] = ["https://login.example", "chat"];
    const { SignJWT } = await import("jose");
    const tokenOf = (user, endsInS = 600) => new SignJWT({ iss: issuer, aud: audience, sub: user })
      .setProtectedHeader({ alg: "HS256" })
      .setIssuedAt()
      .setExpirationTime(Math.floor(Date.now() / 1_000) + endsInS)
      .sign(new TextEncoder().encode(secret));`;

test("users by a key of their own, and nobody else", async () => {
  const block = (await blockOf("docs/authentication.md", "ts", "class Members")).replace(
    "\ncreateApplication(",
    "\nconst app = createApplication(",
  );
  const before = `
    const findByKey = (key) => (key === "right" ? { id: "ann" } : undefined);`;
  const after = `
    const knock = (key) => new TestClient(app, "/members", { headers: { "x-api-key": key } }).connect();
    console.log((await knock("right")).accepted, (await knock("wrong")).code);
    await app.stop();`;
  expect(await tried(`${before}\n${block}${after}`)).toEqual(["true 4401"]);
});

test("a middleware that says what it needs and adds", async () => {
  const block = await blockOf("docs/authentication.md", "ts", "const tenant = mark");
  const after = `
    const tenantOf = async ({ id }) => "tenant of " + id;
    class Desk extends Consumer { connect() { this.send("tenant", this.scope.state.tenant); } }
    const routes = [route("/desk", Desk)];
    const user = authenticate((scope) => ({ id: scope.auth.id }));
    const app = createApplication({ middleware: [user, tenant], routes });
    const ann = new TestClient(app, "/desk", { auth: { id: "ann" } });
    await ann.connect();
    console.log(await ann.next("tenant"));
    await app.stop();
    try { createApplication({ middleware: [tenant], routes }); } catch ({ message }) {
      console.log(message.includes("needs scope.user"));
    }`;
  expect(await tried(block + after)).toEqual(["tenant of ann", "true"]);
});

redisTest("a cart in the session of a consumer, kept in Redis over nodes", async () => {
  const url = await redis();
  const [shop, stored] = [
    await blockOf("docs/authentication.md", "ts", "class Shop"),
    await blockOf("docs/authentication.md", "ts", "const store ="),
  ];
  const before = `${SECRET}`;
  const after = `
    const server = createServer(app, { port: 0 });
    server.express.use(sessions.express);
    server.express.get("/", (request, response) => { request.session.cart = ["apple"]; response.send("ok"); });
    const { url } = await server.listen();
    const response = await fetch(url);
    const [cookie] = response.headers.getSetCookie()[0].split(";");
    const socket = io(url + "/shop", { extraHeaders: { cookie }, transports: ["websocket"] });
    console.log(await socket.emitWithAck("add", "pear"), await socket.emitWithAck("add", "plum"));
    socket.disconnect();
    await server.stop({ atOnce: true });
    process.exit();`;
  const routes = `const routes = [route("/shop", Shop)];`;
  const code = `import { io } from "socket.io-client";\n${before}\n${shop}\n${routes}\n${stored}${after}`;
  expect(await tried(code, { REDIS_URL: url })).toEqual(["2 3"]);
});

test("a list in which one lacks what it needs is refused in the words of the page", async () => {
  const code = `
    class Chat extends Consumer {}
    const routes = [route("/chat", Chat, { middleware: [requireUser()] })];
    try { createApplication({ routes }); } catch ({ message }) { console.log(message); }`;
  const words = await blockOf("docs/authentication.md", "text", "needs scope.user");
  expect((await tried(code)).join("\n")).toContain(words.trim());
});

test("tokens of somebody else, whose keys are at an address", async () => {
  const { publicKey, privateKey } = await generateKeyPair("RS256", { extractable: true });
  const keys = [{ ...(await exportJWK(publicKey)), kid: "k", alg: "RS256", use: "sig" }];
  const server = createServer((_request, response) => void response.end(JSON.stringify({ keys })));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  atEnd(() => server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/.well-known/jwks.json`;
  const signed = (aud: string) =>
    new SignJWT({ iss: "https://login.example", aud, sub: "ann" })
      .setProtectedHeader({ alg: "RS256", kid: "k" })
      .setExpirationTime("10m")
      .sign(privateKey);
  const block = await blockOf("docs/authentication.md", "ts", "jwksUrl:");
  const before = `
    class Chat extends Consumer { connect() { this.send("you", this.scope.user.id); } }`;
  const after = `
    const knock = async (token) => {
      const ann = new TestClient(app, "/chat", { auth: { token } });
      const { accepted, code } = await ann.connect();
      return accepted ? ann.next("you") : code;
    };
    console.log(await knock(process.env.RIGHT), await knock(process.env.WRONG), await knock());
    await app.stop();`;
  const named = block.replace("\ncreateApplication(", "\nconst app = createApplication(");
  const code = `${before}\n${named}${after}`.replace(/https:\S+jwks\.json/, url);
  const env = { RIGHT: await signed("chat"), WRONG: await signed("shop") };
  expect(await tried(code, env)).toEqual(["ann 4401 4401"]);
});

test("a stock client renews its token by hand, and stays", async () => {
  const block = await blockOf("docs/authentication.md", "js", 'socket.on("sluice.expiring"');
  const before = `${SECRET}${ISSUER}
    const { io } = await import("socket.io-client");
    const rules = { secret, issuer, audience };
    const app = createApplication({
      middleware: [bearerToken(rules), requireUser()],
      routes: [route("/chat", class extends Consumer {
        receive() { return this.scope.user.claims.exp; }
      })],
    });
    const server = createServer(app, { port: 0 });
    const { url } = await server.listen();
    const asked = [];
    const freshToken = async () => { asked.push("fresh"); return tokenOf("ann"); };
    const socket = io(url + "/chat", { auth: { token: await tokenOf("ann", 3) } });`;
  const after = `
    const isLong = async () => (await socket.emitWithAck("until")) > Date.now() / 1_000 + 60;
    while (!(await isLong())) await new Promise((resolve) => setTimeout(resolve, 25));
    console.log(asked.join());
    socket.disconnect();
    await server.stop({ atOnce: true });
    process.exit();`;
  const code = `${before}\n${block}${after}`;
  expect(await tried(code)).toEqual(["fresh"]);
});

redisTest("who is revoked is out on all nodes, with all tokens of before", async () => {
  const url = await redis();
  const block = await blockOf("docs/authentication.md", "ts", "revokeUser(");
  const before = `${SECRET}${ISSUER}
    const others = new RedisRevocations({ url: process.env.REDIS_URL });
    const routes = [route("/chat", class extends Consumer {})];
    const other = createApplication({
      middleware: [bearerToken({ secret, issuer, audience, isRevoked: others.isRevoked }), requireUser()],
      parts: [others],
      routes,
      backplane: new RedisBackplane({ url: process.env.REDIS_URL }),
    });
    const auth = { token: await tokenOf("ann") };
    const ann = new TestClient(other, "/chat", { auth });
    await ann.connect();
`;
  const after = `
    console.log((await ann.closed()).code, (await new TestClient(app, "/chat", { auth }).connect()).code);
    await app.stop();
    await other.stop();`;
  expect(await tried(`${before}\n${block}${after}`, { REDIS_URL: url })).toEqual(["4401 4401"]);
});

test("the policy of a group says who may join it", async () => {
  const block = await blockOf("docs/authentication.md", "ts", "mayJoin:");
  const before = `
    const isMember = (user, group) => group === "chat." + user.id;
    const routes = [route("/chat/:room", class extends Consumer {
      async connect() { await this.groupAdd("chat." + this.scope.params.room); }
    }, { middleware: [(scope, next) => next({ user: { id: scope.auth.id } })] })];`;
  const after = `
    const knock = (room) => new TestClient(app, room, { auth: { id: "den" } }).connect();
    console.log((await knock("/chat/den")).accepted, (await knock("/chat/attic")).code);
    await app.stop();`;
  expect(await tried(`${before}\nconst app = ${block}${after}`)).toEqual(["true 4403"]);
});
