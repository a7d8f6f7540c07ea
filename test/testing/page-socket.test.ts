/**
 * `sluice/client` over a test client. Each story is told twice: to the page's end of a TestClient, and to a
 * stock client of a real server; both must have heard the same.
 */
import { afterEach, describe, expect, test } from "@jest/globals";
import { Consumer, createApplication, type Message, type Middleware, route } from "sluice";
import { presence, recover, useToken } from "sluice/client";
import { createServer } from "sluice/server";
import { TestClient } from "sluice/testing";
import { io, type Socket } from "socket.io-client";
import type { WebSocket } from "ws";
import { until } from "../server/live-server.ts";

class Den extends Consumer {
  override async connect() {
    if (this.scope.auth.name === undefined) this.deny(4401, "who are you?");
    await this.groupAdd("den");
    await this.sendPresence("den");
  }
  override async receive(event: string, payload: unknown) {
    if (event === "ask") return this.ask("question", payload);
    if (event === "go") return this.close(4403, "go");
    if (event === "later") return this.close(4503, "later");
    if (event === "bare") return this.groupEmit("den", "bare", undefined);
    if (event === "both") return this.groupSend("den", { type: "den.both", n: payload });
    await this.groupEmit("den", event, payload);
    return { sent: true };
  }
  denBoth({ n }: Message) {
    this.send("first", n);
    this.send("second", n);
  }
}

const identify: Middleware = (scope, next) => next({ user: scope.auth.name });

function denApp() {
  return createApplication({
    routes: [route("/den", Den)],
    middleware: [identify],
    groups: { den: { history: { size: 3, ttlMs: 60_000 }, presence: { graceMs: 0 } } },
    userInfo: (user) => ({ name: user }),
  });
}

const endings: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end();
});

/** One end of a connection, however it is carried. */
interface End {
  readonly socket: Socket;
  enter(): Promise<void>;
  drop(): Promise<void>;
}

interface Place {
  /** A client with that name. */
  end(name?: string): End;
}

function inMemory(): Place {
  const app = denApp();
  endings.push(() => app.stop());
  return {
    end(name) {
      const client = new TestClient(app, "/den", { auth: name === undefined ? {} : { name } });
      return {
        // Where the types differ, it is in what neither helper nor story uses.
        socket: client.socket as unknown as Socket,
        enter: async () => void (await client.connect()),
        drop: () => client.drop(),
      };
    },
  };
}

async function overNetwork(): Promise<Place> {
  const app = denApp();
  const server = createServer(app, { port: 0, stopTimeoutMs: 200 });
  const { url } = await server.listen();
  endings.push(() => server.stop({ atOnce: true }));
  return {
    end(name) {
      const socket = io(`${url}/den`, {
        transports: ["websocket"],
        forceNew: true,
        reconnection: false,
        autoConnect: false,
        auth: name === undefined ? {} : { name },
      });
      endings.push(() => void socket.disconnect());
      return {
        socket,
        enter: () =>
          new Promise((resolve) => {
            socket.once("connect", () => resolve());
            socket.once("connect_error", () => resolve());
            socket.connect();
          }),
        async drop() {
          const id = socket.id;
          const { transport } = socket.io.engine as unknown as { transport: { ws: WebSocket } };
          transport.ws.terminate();
          await until(() => !socket.connected && id, "the client knows");
          await until(() => app.sizes.connections <= 1, "the server knows");
        },
      };
    },
  };
}

/** All that a page would notice, in order. */
function notes({ socket }: End) {
  const noted: unknown[] = [];
  const recovery = recover(socket);
  const here = presence<{ name: string }>(socket, "den");
  for (const name of ["joined", "gap", "left"] as const) {
    recovery.on(name, (told) => noted.push([name, { ...told, epoch: "", id: "" }]));
  }
  here.on("list", () => noted.push(["list", [...here.users.keys()].sort()]));
  here.on("join", ({ user, isLate }) => noted.push(["join", user, isLate]));
  here.on("leave", ({ user, isLate }) => noted.push(["leave", user, isLate]));
  socket.onAny((event: string, ...args: unknown[]) => {
    if (event !== "sluice.presence") noted.push([event, ...args.filter((arg) => typeof arg !== "function")]);
  });
  socket.on("connect", () => noted.push(["connect", socket.connected, socket.active]));
  socket.on("disconnect", (reason) => noted.push(["disconnect", reason, socket.connected]));
  socket.on("connect_error", (error) => noted.push(["connect_error", error.message, { ...error }]));
  return noted;
}

type Story = (place: Place) => Promise<unknown>;

const stories: Record<string, Story> = {
  async "a client that was away is given what it missed, once and in order, and who came and went"(place) {
    const [ann, bob] = [place.end("ann"), place.end("bob")];
    const noted = notes(ann);
    await ann.enter();
    await bob.enter();
    await bob.socket.emitWithAck("said", 1);
    await until(() => noted.some((note) => String(note) === "said,1"), "ann has heard it");
    await ann.drop();
    await bob.socket.emitWithAck("said", 2);
    await bob.socket.emitWithAck("bare");
    await ann.enter();
    await bob.socket.emitWithAck("said", 3);
    await until(() => noted.some((note) => String(note) === "said,3"), "ann has heard the last");
    return noted;
  },
  async "what is no longer kept is told as a gap"(place) {
    const [ann, bob] = [place.end("ann"), place.end("bob")];
    const noted = notes(ann);
    await ann.enter();
    await bob.enter();
    await until(() => noted.some((note) => String(note).startsWith("join,bob")), "bob is here");
    await ann.drop();
    for (const n of [1, 2, 3, 4]) await bob.socket.emitWithAck("said", n);
    await ann.enter();
    await until(() => noted.some((note) => String(note) === "said,4"), "ann has heard the last");
    return noted;
  },
  async "what a handler sends is numbered part by part, and the page sees none of it"(place) {
    const ann = place.end("ann");
    const noted = notes(ann);
    await ann.enter();
    await ann.socket.emitWithAck("both", 7);
    await until(() => noted.some((note) => String(note) === "second,7"), "both came");
    return noted;
  },
  async "a refusal is an error with code and reason"(place) {
    const nobody = place.end();
    const noted = notes(nobody);
    await nobody.enter();
    return noted;
  },
  async "a server that closes says why, and then disconnects the client or its transport"(place) {
    const ann = place.end("ann");
    const noted = notes(ann);
    for (const [i, event] of ["go", "later"].entries()) {
      await ann.enter();
      const lists = () => noted.filter((note) => String(note).startsWith("list"));
      await until(() => lists().length > i, "the list has come");
      ann.socket.emit(event);
      await until(() => !ann.socket.connected, "it is closed");
    }
    return noted;
  },
  async "questions are answered by the page's listeners"(place) {
    const ann = place.end("ann");
    ann.socket.on("question", (n: number, answer: (value: number) => void) => answer(n + 1));
    await ann.enter();
    const answers = [
      await ann.socket.emitWithAck("ask", 1),
      await ann.socket.timeout(5_000).emitWithAck("ask", 2),
    ];
    ann.socket.disconnect();
    return [answers, ann.socket.connected, ann.socket.active];
  },
  async "what is emitted before the connection is sent in it"(place) {
    const ann = place.end("ann");
    const answered = new Promise((resolve) => ann.socket.emit("said", 1, resolve));
    await ann.enter();
    return answered;
  },
  async "a page leaves on purpose"(place) {
    const ann = place.end("ann");
    const noted = notes(ann);
    await ann.enter();
    ann.socket.disconnect();
    return noted;
  },
};

describe("the page's end of a test client is to sluice/client what a stock socket is", () => {
  for (const [name, tell] of Object.entries(stories)) {
    test(name, async () => {
      const here = await tell(inMemory());
      const there = await tell(await overNetwork());
      expect(here).toEqual(there);
      expect(JSON.stringify(here)?.length).toBeGreaterThan(5);
    });
  }
});

test("next, pending and take see what the page would, and nothing twice", async () => {
  const app = denApp();
  endings.push(() => app.stop());
  const [ann, bob] = ["ann", "bob"].map((name) => new TestClient(app, "/den", { auth: { name } })) as [
    TestClient,
    TestClient,
  ];
  const recovery = recover(ann.socket);
  await ann.connect();
  await bob.connect();
  await bob.emit("said", 1);
  expect(await ann.next("said")).toBe(1);
  await ann.drop();
  await bob.emit("said", 2);
  expect(await ann.connect()).toEqual({ accepted: true });
  expect(await ann.next("said")).toBe(2);
  await ann.expectSilence("said");
  // Two joins, one of them again, a leave, and what was said.
  expect(recovery.position("den")?.offset).toBe(6);
});

test("a page shows a new token in each connection, however long it takes to have one", async () => {
  class Guarded extends Consumer {
    override connect() {
      if (this.scope.auth.token !== "second") this.deny(4401, `not with the ${this.scope.auth.token} one`);
    }
  }
  const app = createApplication({ routes: [route("/guarded", Guarded)] });
  endings.push(() => app.stop());
  const client = new TestClient(app, "/guarded");
  const tokens = ["first", "second"];
  useToken(client.socket, async () => {
    await new Promise((resolve) => setImmediate(resolve));
    return String(tokens.shift());
  });
  expect(await client.connect()).toMatchObject({ accepted: false, reason: "not with the first one" });
  expect(await client.connect()).toEqual({ accepted: true });
});
