import { describe, expect, test } from "@jest/globals";
import { type Batch, Outgoing } from "../../src/redis/outgoing.ts";

const LIMITS = { maxWaitingMessages: 1_000, maxWaitingBytes: 1_000_000, maxWaitingMs: 60_000 };

interface Sent extends Batch {
  answer(receivers: number): void;
  fail(error: Error): void;
}

function outgoing(limits: Partial<typeof LIMITS> = {}) {
  const sent: Sent[] = [];
  const told: string[] = [];
  const made = new Outgoing(
    { ...LIMITS, ...limits },
    {
      dropped: (topic, count) => told.push(`dropped ${count} of ${topic}`),
      delivered: (topic, receivers) => told.push(`${topic} to ${receivers}`),
      isRefusal: (error) => (error as Error).message === "refused",
    },
  );
  const carrier = (batch: Batch) =>
    new Promise<number>((answer, fail) => sent.push({ ...batch, texts: [...batch.texts], answer, fail }));
  return { made, sent, told, carrier };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe("what a node publishes", () => {
  test("travels together when it was published in one turn, topic by topic in order", async () => {
    const { made, sent, carrier } = outgoing();
    made.begin(carrier);
    for (const text of ["a1", "a2"]) made.add("a", text);
    made.add("b", "b1");
    await Promise.resolve().then(() => made.add("a", "a3"));
    expect(sent).toEqual([]);
    await turn();
    made.add("a", "a4");
    await turn();
    expect(sent).toMatchObject([
      { topic: "a", stream: 1, first: 0, texts: ["a1", "a2", "a3"] },
      { topic: "b", stream: 2, first: 0, texts: ["b1"] },
      { topic: "a", stream: 1, first: 3, texts: ["a4"] },
    ]);
  });

  test("makes no batch without end", async () => {
    const { made, sent, carrier } = outgoing({ maxWaitingBytes: 10_000_000 });
    made.begin(carrier);
    for (let i = 0; i < 5; i++) made.add("a", "x".repeat(200_000));
    await turn();
    expect(sent.map(({ first, texts }) => [first, texts.length])).toEqual([
      [0, 2],
      [2, 2],
      [4, 1],
    ]);
  });

  test("is under way in at most a thousand batches", async () => {
    const { made, sent, carrier } = outgoing({ maxWaitingMessages: 5_000 });
    made.begin(carrier);
    for (let i = 0; i < 1_500; i++) made.add(`t${i}`, "x");
    await turn();
    expect(sent).toHaveLength(1_000);
    for (const { answer } of sent.slice(0, 10)) answer(1);
    await turn();
    expect(sent).toHaveLength(1_010);
  });

  test("goes again with the next carrier when the last one failed, in order and with its numbers", async () => {
    const { made, sent, told, carrier } = outgoing();
    made.begin(carrier);
    for (const text of ["1", "2", "3"]) {
      made.add("t", text);
      await turn();
    }
    sent[0]?.answer(1);
    await turn();
    sent[1]?.fail(new Error("connection lost"));
    await turn();
    made.pause();
    made.add("t", "4");
    await turn();
    made.begin((batch) => carrier(batch));
    expect(sent.slice(3)).toMatchObject([
      { first: 1, texts: ["2"] },
      { first: 2, texts: ["3"] },
      { first: 3, texts: ["4"] },
    ]);
    // A late answer of the old carrier counts once.
    sent[2]?.fail(new Error("refused"));
    for (const { answer } of sent.slice(3)) answer(1);
    await made.flush();
    expect(told).toEqual(Array(4).fill("t to 1"));
    expect(made.size).toBe(0);
  });

  test("is dropped and told when it is refused, and the rest goes on", async () => {
    const { made, sent, told, carrier } = outgoing();
    made.begin(carrier);
    made.add("t", "1");
    made.add("t", "2");
    await turn();
    made.add("t", "3");
    await turn();
    const flushed = made.flush();
    sent[0]?.fail(new Error("refused"));
    sent[1]?.answer(0);
    await expect(flushed).rejects.toMatchObject({ code: "layer_unavailable" });
    expect(told).toEqual(["dropped 2 of t", "t to 0"]);
  });

  test("leaves a hole in the numbers where there was no room", async () => {
    const { made, sent, told, carrier } = outgoing({ maxWaitingMessages: 2 });
    for (const text of ["1", "2", "3"]) made.add("t", text);
    expect(told).toEqual(["dropped 1 of t"]);
    made.begin(carrier);
    await turn();
    for (const { answer } of sent) answer(1);
    await turn();
    made.add("t", "4");
    await turn();
    expect(sent.map(({ first, texts }) => [first, texts])).toEqual([
      [0, ["1", "2"]],
      [3, ["4"]],
    ]);
  });

  test("a flush waits for what was before it and for nothing later", async () => {
    const { made, sent, carrier } = outgoing();
    made.begin(carrier);
    await made.flush();
    made.add("t", "1");
    const flushed = made.flush();
    made.add("t", "2");
    await turn();
    expect(sent).toHaveLength(2);
    sent[0]?.answer(1);
    await flushed;
  });

  test("whoever asks hears what became of a text, and has room where others have none", async () => {
    const { made, sent, carrier } = outgoing({ maxWaitingMessages: 4 });
    const heard: string[] = [];
    const ask = (name: string) => (isLost: boolean) => heard.push(`${name} ${isLost ? "lost" : "left"}`);
    for (let i = 0; i < 6; i++) made.add("chat", "x");
    made.add("nodes", "ban", ask("ban"));
    made.add("nodes", "one too many", ask("other"));
    expect(heard).toEqual(["other lost"]);
    made.begin(carrier);
    await turn();
    for (const { answer } of sent) answer(1);
    await turn();
    expect(heard).toEqual(["other lost", "ban left"]);
    await expect(made.flush()).rejects.toMatchObject({ code: "layer_unavailable" });
    await made.flush();
    made.add("nodes", "late", ask("late"));
    made.close();
    expect(heard.at(-1)).toBe("late lost");
  });

  test("closing drops what is left and ends who waits", async () => {
    const { made, told } = outgoing();
    made.add("t", "1");
    const flushed = made.flush();
    made.close();
    await expect(flushed).rejects.toMatchObject({ code: "layer_unavailable" });
    expect([told, made.size]).toEqual([["dropped 1 of t"], 0]);
  });
});
