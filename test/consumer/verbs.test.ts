/** What a consumer may do before it is let in, and after its connection has ended; and what stays around it. */
import { afterEach, describe, expect, test } from "@jest/globals";
import {
  type Application,
  type ApplicationOptions,
  ConnectionClosed,
  Consumer,
  createApplication,
  InvalidName,
  MessageTooLarge,
  type Middleware,
  type PayloadCodec,
  route,
  type ScopeConnection,
  Signal,
} from "sluice";
import { TestClient, untilIdle } from "sluice/testing";
import { serve, until } from "../server/live-server.ts";

let app: Application;
afterEach(() => app.stop());

/** Does what the test says, in the hook or handler that it says. */
class Acting extends Consumer {
  static at: Record<string, (consumer: Acting, payload?: unknown) => unknown> = {};
  override async receive(event: string, payload: unknown): Promise<unknown> {
    return (await Acting.at[event]?.(this, payload)) ?? null;
  }
  override disconnect() {
    return Acting.at.disconnect?.(this);
  }
}

async function client(
  at: typeof Acting.at,
  middleware: readonly Middleware[] = [],
  options: Omit<ApplicationOptions, "routes"> = {},
  Kind: typeof Acting = Acting,
): Promise<TestClient> {
  Acting.at = at;
  app = createApplication({ ...options, routes: [route("/room", Kind, { middleware }) as never] });
  const made = new TestClient(app, "/room");
  await made.connect();
  return made;
}

async function outcomeOf(work: () => unknown): Promise<unknown> {
  try {
    return await work();
  } catch (error) {
    return error;
  }
}

describe("in disconnect, when the connection has ended,", () => {
  const ended = async (work: (consumer: Acting) => unknown): Promise<unknown> => {
    let outcome: unknown;
    const one = await client({
      disconnect: async (consumer) => {
        outcome = await outcomeOf(() => work(consumer));
      },
    });
    await one.disconnect();
    await untilIdle(app);
    return outcome;
  };

  test("what is sent is not counted, as nobody gets it", async () => {
    expect(await ended((consumer) => consumer.send("late", 1))).toBeUndefined();
    expect(app.readings().counters.sentToClients).toBe(0);
  });

  test("no group can be joined", async () => {
    const error = await ended((consumer) => consumer.groupAdd("den"));
    expect(error).toBeInstanceOf(ConnectionClosed);
    expect(error).toMatchObject({
      message: expect.stringContaining('cannot join the group "den": the connection has ended'),
    });
    expect(app.layer.groupMembers("den")).toEqual([]);
  });

  test("no signal can be listened to", async () => {
    const signal = new Signal<number>("ticked");
    const error = await ended((consumer) => consumer.listen(signal, () => {}));
    expect(error).toBeInstanceOf(ConnectionClosed);
    expect(signal.hasReceivers).toBe(false);
  });

  test("nobody can be asked", async () => {
    expect(await ended((consumer) => consumer.ask("what?", 1))).toMatchObject({
      message: expect.stringContaining("the client cannot be asked: the connection has ended"),
    });
  });
});

test("a question is an event like others: its name is checked, and so is its size, before it is sent", async () => {
  const one = await client({
    name: async (consumer) => (await outcomeOf(() => consumer.ask("sluice.close", 1))) instanceof InvalidName,
    size: async (consumer) =>
      (await outcomeOf(() => consumer.ask("what?", "x".repeat(2_000_000)))) instanceof MessageTooLarge,
  });
  expect([await one.emit("name"), await one.emit("size")]).toEqual([true, true]);
  expect(app.readings().counters.sentToClients).toBe(0);
});

test("who is here is told in turn with what is sent, and not to somebody who is refused", async () => {
  const hears = async (isRefused: boolean) => {
    class Room extends Consumer {
      override async connect() {
        await this.groupAdd("den");
        this.send("first", 1);
        await this.sendPresence("den");
        this.send("last", 1);
        if (isRefused) this.deny(4403, "members only");
      }
    }
    const live = await serve({ routes: [route("/room", Room)], groups: { den: { presence: true } } });
    const raw = await live.raw();
    raw.send("40/room,");
    const end = await raw.hears(isRefused ? "44/room," : '42/room,["last"');
    const told = raw.received.join("\n");
    return [end.slice(0, 2), /first.*sluice\.presence.*last/s.test(told), told.includes("sluice.presence")];
  };
  app = createApplication({ routes: [] });
  expect(await hears(false)).toEqual(["42", true, true]);
  expect(await hears(true)).toEqual(["44", false, false]);
});

test("what a consumer has stopped hearing is not kept for its end", async () => {
  let ends = 0;
  const signal = Object.assign(new Signal<number>("ticked"), {
    connect: () => () => {
      ends += 1;
    },
  });
  const one = await client({
    listen: (consumer) => {
      for (let n = 0; n < 10; n++) consumer.listen(signal, () => {})();
    },
  });
  await one.emit("listen");
  expect(ends).toBe(10);
  await one.disconnect();
  await untilIdle(app);
  expect(ends).toBe(10);
});

test("what a codec throws for a group rejects, like all that the verb finds wrong", async () => {
  class Coded extends Acting {
    static override readonly codec: PayloadCodec = {
      decode: (payload) => payload,
      encode(payload) {
        if (payload === "bad") throw new Error("it cannot travel");
        return payload;
      },
    };
  }
  const one = await client(
    {
      say: (consumer) => {
        const promise = consumer.groupEmit("den", "said", "bad");
        return promise.then(
          () => "sent",
          (error: Error) => error.message,
        );
      },
    },
    [],
    {},
    Coded,
  );
  expect(await one.emit("say")).toBe("it cannot travel");
});

describe("a middleware that stays", () => {
  /** Takes hold of the connection. */
  function holding(during?: (connection: ScopeConnection) => unknown) {
    const held: { connection?: ScopeConnection; outcome?: unknown } = {};
    const middleware: Middleware = async (scope, next) => {
      held.connection = scope.connection;
      if (during !== undefined) held.outcome = await outcomeOf(() => during(scope.connection));
      return next({ user: { id: "ann", name: "Ann" } });
    };
    return { held, middleware };
  }

  test("cannot change what is being admitted, nor what has ended", async () => {
    const { held, middleware } = holding((connection) => connection.change({ user: "eve" }));
    const one = await client({}, [middleware]);
    expect(held.outcome).toMatchObject({
      message: "the connection is being admitted: hand the changes to next()",
    });
    await one.disconnect();
    await untilIdle(app);
    await expect(held.connection?.change({ user: "eve" })).rejects.toBeInstanceOf(ConnectionClosed);
    expect(held.connection?.scope.user).toEqual({ id: "ann", name: "Ann" });
  });

  const info = (user: unknown) => ({ name: (user as { readonly name: string }).name });
  const groups = { den: { presence: true } };

  test("that changes something else leaves a user's info, and asks for no right again", async () => {
    let asked = 0;
    const { held, middleware } = holding();
    const mayJoin = () => {
      asked += 1;
      return true;
    };
    const one = await client({ join: (consumer, group) => consumer.groupAdd(String(group)) }, [middleware], {
      groups: { ...groups, club: { mayJoin } },
      userInfo: info,
    });
    await one.emit("join", "club");
    await held.connection?.change({ state: { step: 2 } });
    await one.emit("join", "den");
    expect(await app.layer.presence("den")).toMatchObject([{ user: "ann", info: { name: "Ann" } }]);
    expect(asked).toBe(1);
    await held.connection?.change({ user: { id: "ann", name: "Ann" } });
    expect(asked).toBe(2);
  });

  test("that makes somebody nobody takes the info, too", async () => {
    const { held, middleware } = holding();
    const one = await client({ join: (consumer) => consumer.groupAdd("den") }, [middleware], {
      groups,
      userInfo: info,
    });
    await one.emit("join");
    await held.connection?.change({ user: undefined });
    expect(await app.layer.presence("den")).toEqual([]);
  });

  test("a right that is refused is no failure, and one that cannot be asked for is", async () => {
    const { held, middleware } = holding();
    let answer: () => boolean = () => true;
    const one = await client({ join: (consumer) => consumer.groupAdd("club") }, [middleware], {
      groups: { club: { mayJoin: () => answer() } },
    });
    const failed: unknown[] = [];
    app.signals.failed.connect(({ error }) => failed.push((error as Error).message));
    for (const [rule, failures] of [
      [() => false, []],
      [
        () => {
          throw new Error("no database");
        },
        ["no database"],
      ],
    ] as const) {
      answer = () => true;
      await one.emit("join");
      expect(app.layer.groupMembers("club")).toHaveLength(1);
      answer = rule;
      await held.connection?.change({ user: { id: "eve", name: "Eve" } });
      expect([app.layer.groupMembers("club"), failed]).toEqual([[], failures]);
    }
  });

  test("what stands around is run from the outside in, and one that does neither is a bug", async () => {
    const steps: string[] = [];
    const around = (name: string): Middleware => {
      return (scope, next) => {
        scope.connection.around(async (inner, hook) => {
          if (name === "lazy" && hook === "receive") return;
          steps.push(name);
          await inner();
          steps.push(`/${name}`);
        });
        return next();
      };
    };
    const one = await client({ say: () => void steps.push("say") }, [around("outer"), around("inner")]);
    steps.length = 0;
    await one.emit("say");
    expect(steps).toEqual(["outer", "inner", "say", "/inner", "/outer"]);
    await app.stop();
    const other = await client({ say: () => "yes" }, [around("lazy")]);
    const failed: unknown[] = [];
    app.signals.failed.connect(({ error }) => failed.push((error as Error).message));
    expect(await other.emit("say")).toMatchObject({ error: { code: "internal_error" } });
    await until(() => failed.length > 0, "it is told");
    expect(failed).toEqual(['a middleware around "receive" neither ran it nor refused it']);
  });

  test("may give the same key again, and it is still one", async () => {
    const { held, middleware } = holding();
    const closed: unknown[] = [];
    const one = await client({}, [middleware]);
    app.signals.disconnected.connect(({ reason }) => closed.push(reason.message));
    held.connection?.key("k1");
    held.connection?.key("k1");
    held.connection?.unkey("k1");
    await held.connection?.closeKeyed("k1", 4403, "by k1");
    expect(await one.emit("still")).toBeNull();
    held.connection?.key("k2");
    held.connection?.key("k3", "k2");
    await held.connection?.closeKeyed("k2", 4403, "by k2");
    expect(await one.emit("still")).toBeNull();
    await held.connection?.closeKeyed("k3", 4403, "by k3");
    await untilIdle(app);
    expect(closed).toEqual(["by k3"]);
  });

  test("of several that take new credentials the last answer counts, and one without an answer has none", async () => {
    const taking = (answer: unknown): Middleware => {
      return (scope, next) => {
        scope.connection.onRefresh(() => answer);
        return next();
      };
    };
    const one = await client({}, [taking("first"), taking("second"), taking(undefined)]);
    expect(await one.emit("sluice.auth", { token: "x" })).toBe("second");
    await app.stop();
    const other = await client({});
    expect(await other.emit("sluice.auth", { token: "x" })).toMatchObject({ error: { code: "no_handler" } });
  });
});

test("what disconnect throws, at once or later, is told, whether something stands around it or not", async () => {
  const around: Middleware = (scope, next) => {
    scope.connection.around((inner) => inner());
    return next();
  };
  const refusing: Middleware = (scope, next) => {
    scope.connection.around(async (inner, hook) => {
      if (hook === "disconnect") throw new Error("not here");
      await inner();
    });
    return next();
  };
  for (const [middleware, told] of [
    [[], ["a bug"]],
    [[around], ["a bug"]],
    [[refusing], ["not here", "a bug"]],
  ] as const) {
    for (const isLate of [false, true]) {
      let runs = 0;
      const one = await client(
        {
          disconnect() {
            runs += 1;
            if (isLate) return Promise.reject(new Error("a bug"));
            throw new Error("a bug");
          },
        },
        middleware,
      );
      const failed: unknown[] = [];
      app.signals.failed.connect(({ error }) => failed.push((error as Error).message));
      await one.disconnect();
      await untilIdle(app);
      expect([runs, failed]).toEqual([1, told]);
      await app.stop();
    }
  }
});
