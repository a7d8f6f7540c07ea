import { expect, test } from "@jest/globals";
import { route } from "sluice";
import { connected, Echo, type Live, serve, until } from "./live-server.ts";

/** Asks its client and says what came of it. */
class Asking extends Echo {
  static readonly outcomes: unknown[] = [];
  override async receive(_event: string, timeoutMs: unknown): Promise<unknown> {
    try {
      const answer = await this.ask("how are you?", { since: 1 }, { timeoutMs: timeoutMs as number });
      Asking.outcomes.push(answer);
    } catch (error) {
      Asking.outcomes.push((error as Error).name);
    }
    return Asking.outcomes.at(-1);
  }
}

async function scene(): Promise<Live> {
  Asking.outcomes.length = 0;
  return serve({ routes: [route("/asking", Asking)] });
}

test("a client that is asked answers, with binary too", async () => {
  const live = await scene();
  const client = await connected(live.client("/asking"));
  client.on("how are you?", (payload: unknown, answer: (value: unknown) => void) => {
    answer({ fine: true, payload, bytes: Buffer.from("b") });
  });
  expect(await client.emitWithAck("go", 10_000)).toEqual({
    fine: true,
    payload: { since: 1 },
    bytes: Buffer.from("b"),
  });
});

test("a client that does not answer in time is AskTimeout, and its late answer is no harm", async () => {
  const live = await scene();
  const client = await connected(live.client("/asking"));
  let answerLate: (value: unknown) => void = () => {};
  client.on("how are you?", (_payload, answer: typeof answerLate) => {
    answerLate = answer;
  });
  expect(await client.emitWithAck("go", 20)).toBe("AskTimeout");
  answerLate("too late");
  client.off("how are you?").on("how are you?", (_payload, answer: typeof answerLate) => answer("in time"));
  expect(await client.emitWithAck("go", 10_000)).toBe("in time");
});

test.each(["disconnect", "terminate"] as const)(
  "a client lost by %s while it is asked is ConnectionClosed",
  async (how) => {
    const live = await scene();
    const raw = await live.raw();
    await raw.enter("/asking");
    raw.send('42/asking,["go",100000]');
    await raw.hears("42/asking,0");
    if (how === "disconnect") raw.send("41/asking,");
    else raw.socket.terminate();
    await live.app.layer.groupSend("nobody", { type: "no.one" });
    await until(() => Asking.outcomes.length > 0, "the question has an outcome");
    expect(Asking.outcomes).toEqual(["ConnectionClosed"]);
    raw.socket.terminate();
    await live.empty();
  },
);

test("an answer without a payload, twice, or to a question nobody put, is no harm", async () => {
  const live = await scene();
  const raw = await live.raw();
  await raw.enter("/asking");
  raw.send('42/asking,7["go",100000]');
  const question = await raw.hears("42/asking,");
  const id = /^42\/asking,(\d+)/.exec(question)?.[1];
  raw.send(`43/asking,${Number(id) + 1}["not mine"]`);
  raw.send(`43/asking,${id}`);
  raw.send(`43/asking,${id}["again"]`);
  await raw.hears("43/asking,7");
  expect(Asking.outcomes).toEqual([undefined]);
  expect(raw.isOpen).toBe(true);
});

test("one client cannot answer for another", async () => {
  const live = await scene();
  const [asked, other] = [await live.raw(), await live.raw()];
  await asked.enter("/asking");
  await other.enter("/asking");
  asked.send('42/asking,7["go",100000]');
  const id = /^42\/asking,(\d+)/.exec(await asked.hears("42/asking,"))?.[1];
  other.send(`43/asking,${id}["forged"]`);
  other.send('42/asking,8["go",20]');
  await other.hears("43/asking,8");
  asked.send(`43/asking,${id}["mine"]`);
  expect(await asked.hears("43/asking,7")).toBe('43/asking,7["mine"]');
});

test("more than 100 questions at once are refused", async () => {
  class Curious extends Echo {
    override async receive(): Promise<unknown> {
      const questions = Array.from({ length: 101 }, () =>
        this.ask("why?", undefined).catch((error: { code?: string }) => error.code),
      );
      return Promise.race(questions);
    }
  }
  const live = await serve({ routes: [route("/curious", Curious)] });
  const client = await connected(live.client("/curious"));
  expect(await client.emitWithAck("go")).toBe("rate_limited");
});
