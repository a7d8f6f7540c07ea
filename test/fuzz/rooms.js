/**
 * The application that is fuzzed. Its handlers trust nothing: each looks at what it was given by hand, with
 * nothing of the schemas, and tells what no schema should have let through.
 *
 * @param {typeof import("sluice")} sluice
 * @param {typeof import("zod").z} z
 * @param {(violation: string) => void} violated
 */
export function fuzzedRooms({ Consumer, http, include, route, sse }, z, violated) {
  const wrong = (what, value) => violated(`${what}: ${shown(value)}`);

  class Strict extends Consumer {
    static events = {
      say: {
        schema: z.object({ text: z.string().min(1).max(200), n: z.int().min(0).max(10).optional() }),
        handler: (me, payload) => me.say(payload),
      },
      file: {
        schema: z.object({ name: z.string().max(50), data: z.instanceof(Uint8Array) }),
        handler: (me, payload) => me.file(payload),
      },
      tags: { schema: z.array(z.enum(["a", "b"])).max(3), handler: (me, payload) => me.tags(payload) },
      count: {
        schema: z.strictObject({ by: z.number().gt(0) }),
        handler: (me, payload) => me.count(payload),
      },
      none: { handler: (me, payload) => me.none(payload) },
    };

    async connect() {
      const { id } = this.scope.params;
      if (!(Number.isSafeInteger(id) && id >= 0 && id < 1e15)) wrong("params.id", id);
      if (typeof this.scope.auth !== "object" || Array.isArray(this.scope.auth))
        wrong("auth", this.scope.auth);
      await this.groupAdd("all");
      if (this.scope.auth.logged === true) await this.groupAdd("logged");
    }
    async say(payload) {
      const { text, n, ...rest } = payload;
      const isRight =
        isPlain(payload) &&
        typeof text === "string" &&
        text.length >= 1 &&
        text.length <= 200 &&
        (n === undefined || (Number.isInteger(n) && n >= 0 && n <= 10)) &&
        Object.keys(rest).length === 0;
      if (!isRight) wrong("say", payload);
      if (n === 10) await this.groupEmit("logged", "said", payload);
      return { text };
    }
    file(payload) {
      const isRight =
        isPlain(payload) &&
        typeof payload.name === "string" &&
        payload.name.length <= 50 &&
        payload.data instanceof Uint8Array;
      if (!isRight) wrong("file", payload);
      return payload.data;
    }
    tags(payload) {
      if (
        !(Array.isArray(payload) && payload.length <= 3 && payload.every((tag) => tag === "a" || tag === "b"))
      )
        wrong("tags", payload);
    }
    count(payload) {
      if (!(isPlain(payload) && Object.keys(payload).join() === "by" && payload.by > 0))
        wrong("count", payload);
      return this.groupSend("all", { type: "all.counted", by: payload.by });
    }
    none(payload) {
      if (payload !== undefined) wrong("none", payload);
    }
    allCounted({ by }) {
      if (typeof by !== "number") wrong("allCounted", by);
    }
    /** No event and no message has this name: nobody outside can run it. */
    open(secret) {
      wrong("a method that is no handler", secret);
    }
  }

  /** Takes everything; what Sluice itself promises of a name must hold. */
  class Free extends Consumer {
    receive(event, payload) {
      const isRight =
        typeof event === "string" &&
        event.length >= 1 &&
        event.length <= 99 &&
        !event.startsWith("sluice.") &&
        ![
          "connect",
          "connect_error",
          "disconnect",
          "disconnecting",
          "newListener",
          "removeListener",
        ].includes(event);
      if (!isRight) wrong("an event's name", event);
      // What is too deep, or too large, cannot be sent.
      return event === "echo" ? payload : typeof payload;
    }
  }

  class Picky extends Consumer {
    connect() {
      if (this.scope.auth.name !== "ann") this.deny(4403, "only ann");
    }
    receive() {
      if (this.scope.auth.name !== "ann") wrong("who was refused", this.scope.auth);
    }
  }

  const routes = [
    route("/strict/:id(int)", Strict),
    route("/free/:name", Free),
    route("/picky/:rest(path)", Picky),
    include("/streams", [sse("/strict/:id(int)", Strict), sse("/free/:name", Free)]),
    http("/items/:id(int)", (_request, response) => {
      const { id } = response.locals.scope.params;
      if (!Number.isSafeInteger(id)) wrong("http params.id", id);
      response.json({ id });
    }),
  ];
  const groups = { logged: { history: { size: 100, ttlMs: 1_000, clientsMayRead: true } } };
  return { routes, groups, Strict, Free };
}

function isPlain(value) {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

function shown(value) {
  try {
    return String(JSON.stringify(value)).slice(0, 300);
  } catch (error) {
    return String(error);
  }
}
