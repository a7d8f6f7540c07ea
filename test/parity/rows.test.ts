/** Rows of docs/from-django-channels.md that no other room tests by themselves. */
import { request as httpRequest } from "node:http";
import { expect, test } from "@jest/globals";
import { Consumer, event, http, include, route } from "sluice";
import { z } from "zod";
import { connected, gate, heard, type Live, serve } from "../server/live-server.ts";

test("raw text and raw bytes are events without a name of their own", async () => {
  class Raw extends Consumer {
    override receive(name: string, data: unknown): void {
      if (name !== "message") return;
      if (typeof data === "string") this.send("message", data.toUpperCase());
      if (data instanceof Uint8Array) this.send("message", Buffer.from(data).reverse());
    }
  }
  const live = await serve({ routes: [route("/raw", Raw)] });
  const client = await connected(live.client("/raw"));
  client.send("text");
  expect(await heard(client, "message")).toEqual(["TEXT"]);
  client.send(Buffer.from([1, 2, 255]));
  expect(await heard(client, "message")).toEqual([Buffer.from([255, 2, 1])]);
});

test("client and server agree on a sub-protocol, and there is none without one both know", async () => {
  const KNOWN = ["chat.v2", "chat.v1"];
  const Offer = z.object({ protocols: z.array(z.string()).max(10) });
  class Versioned extends Consumer {
    override connect(): void {
      const { protocols } = this.validate(Offer, this.scope.auth);
      const chosen = KNOWN.find((name) => protocols.includes(name));
      if (chosen === undefined) this.deny(4406, `speak one of ${KNOWN.join(", ")}`);
      this.send("protocol", chosen);
    }
  }
  const live = await serve({ routes: [route("/versioned", Versioned)] });
  const newer = live.client("/versioned", { auth: { protocols: ["chat.v1", "chat.v2", "other"] } });
  expect(await heard(newer, "protocol")).toEqual(["chat.v2"]);
  const older = live.client("/versioned", { auth: { protocols: ["chat.v0"] } });
  await expect(connected(older)).rejects.toMatchObject({
    data: { code: 4406, reason: "speak one of chat.v2, chat.v1" },
  });
  await expect(connected(live.client("/versioned"))).rejects.toMatchObject({ data: { code: 4400 } });
});

test("one class serves several routes, each with arguments of its own", async () => {
  interface Limited {
    options: { readonly max: number };
    receives: { count: number };
  }
  class Counter extends Consumer<Limited> {
    static override readonly events = {
      count: event(z.number(), (counter: Counter, n) => Math.min(n, counter.options.max)),
    };
  }
  const live = await serve({
    routes: [
      route("/small", Counter, { options: { max: 3 } }),
      include("/big", [route("/:name", Counter, { options: { max: 300 } })]),
    ],
  });
  expect(await (await connected(live.client("/small"))).emitWithAck("count", 1_000)).toBe(3);
  expect(await (await connected(live.client("/big/x"))).emitWithAck("count", 1_000)).toBe(300);
});

test("an HTTP route reads a body as it comes, and answers piece by piece while it does", async () => {
  const live = await serve({
    routes: [
      http(
        "/upper",
        async (request, response) => {
          response.type("text/plain");
          for await (const piece of request) response.write(String(piece).toUpperCase());
          response.end("!");
        },
        { methods: ["POST"] },
      ),
    ],
  });
  const { write, next, end } = upload(live, "/upper");
  write("one ");
  expect(await next()).toBe("ONE ");
  write("two");
  expect(await next()).toBe("TWO");
  end();
  expect(await next()).toBe("!");
});

test("a long poll answers when there is something, to all who wait", async () => {
  const news = gate();
  const live = await serve({
    routes: [
      http("/news", async (_request, response) => {
        const { closed } = response.locals.scope as { closed: AbortSignal };
        await Promise.race([
          news.passed,
          new Promise((resolve) => closed.addEventListener("abort", resolve)),
        ]);
        response.json({ news: "it rains" });
      }),
    ],
  });
  const asked = [1, 2, 3].map(async () => (await fetch(`${live.url}/news`)).json());
  news.open();
  expect(await Promise.all(asked)).toEqual(Array.from({ length: 3 }, () => ({ news: "it rains" })));
});

/** A request whose body goes out in pieces, and whose answer is read likewise. */
function upload(live: Live, path: string) {
  const pieces: string[] = [];
  let look = () => {};
  const request = httpRequest(`${live.url}${path}`, { method: "POST" }, (response) => {
    response.setEncoding("utf8").on("data", (piece: string) => {
      pieces.push(piece);
      look();
    });
  });
  const next = () =>
    new Promise<string | undefined>((resolve) => {
      look = () => pieces.length > 0 && resolve(pieces.shift());
      look();
    });
  return { write: (text: string) => request.write(text), end: () => request.end(), next };
}
