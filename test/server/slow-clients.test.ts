import { expect, test } from "@jest/globals";
import { Consumer, route } from "sluice";
import { connected, Diary, type Live, type RawClient, serve, until } from "./live-server.ts";

const MIB = 1024 * 1024;
const CHUNK = "x".repeat(64 * 1024);

/** A server whose clients on `/hall` are one group, a member that reads and one that does not. */
async function scene(codec: "text" | "binary") {
  const diary = new Diary();
  class Hall extends diary.Witness {
    static override readonly groups = ["hall"];
  }
  const live = await serve({ routes: [route("/hall", Hall)] });
  const reader = await connected(live.client("/hall"));
  const seen: number[] = [];
  reader.on("chunk", ({ n }: { n: number }) => seen.push(n));
  const sleeper = await live.raw();
  await sleeper.enter("/hall");
  sleeper.socket.pause();
  const data = codec === "text" ? CHUNK : Buffer.from(CHUNK);
  const emit = (n: number) => live.app.layer.groupEmit("hall", "chunk", { n, data });
  return { live, diary, reader, seen, sleeper, emit };
}

/** Sends half a MiB at a time, each when the reader has all of the last: as fast as one who reads can. */
async function pour(mebibytes: number, emit: (n: number) => Promise<void>, seen: readonly number[]) {
  for (let n = 0; n < mebibytes * 16; ) {
    for (const end = n + 8; n < end; n++) await emit(n);
    await until(() => seen.length === n, "the reader has it all");
  }
}

test.each(["text", "binary"] as const)(
  "a WebSocket client that never reads 60 MB of %s is cut with 4513, and the others get all of it",
  async (codec) => {
    const { live, diary, reader, seen, sleeper, emit } = await scene(codec);
    const before = process.memoryUsage();
    await pour(60, emit, seen);
    const after = process.memoryUsage();
    expect(await diary.reason()).toMatchObject({ kind: "limit", code: 4513 });
    expect(seen).toEqual(Array.from({ length: 60 * 16 }, (_, n) => n));
    expect(Math.max(after.rss - before.rss, after.external - before.external)).toBeLessThan(100 * MIB);
    expect(live.server.connections).toBe(1);
    reader.disconnect();
    sleeper.socket.terminate();
    await live.empty();
  },
);

test("a polling client that never polls again is cut with 4513", async () => {
  const { live, diary, reader, seen, sleeper, emit } = await scene("text");
  sleeper.socket.terminate();
  expect((await diary.reason()).kind).toBe("transport");
  await enterByPolling(live, "/hall");
  await until(() => live.app.sizes.connections === 2, "the poller is in");
  await pour(2, emit, seen);
  await until(() => diary.reasons.length === 2, "it is cut");
  expect(diary.reasons[1]).toMatchObject({ kind: "limit", code: 4513 });
  reader.disconnect();
  await live.empty();
});

test("answers to a client that asks and never reads are bounded too", async () => {
  const diary = new Diary();
  class Parrot extends diary.Witness {
    override receive() {
      return CHUNK;
    }
  }
  const live = await serve({ routes: [route("/parrot", Parrot)], limits: { eventsPerSecond: 100_000 } });
  const raw = await live.raw();
  await raw.enter("/parrot");
  raw.socket.pause();
  await askUntilCut(raw, diary);
  expect(await diary.reason()).toMatchObject({ kind: "limit", code: 4513 });
  await live.empty();
});

test("what is sent before the client is let in is bounded as well", async () => {
  const diary = new Diary();
  class Eager extends diary.Witness {
    override connect() {
      for (let i = 0; i < 20; i++) this.send("chunk", CHUNK);
      return new Promise(() => {});
    }
  }
  const live = await serve({ routes: [route("/eager", Eager)], closeTimeoutMs: 50 });
  const raw = await live.raw();
  raw.send("40/eager,");
  expect(await raw.hears("44/eager,")).toContain('"code":4513');
  expect(await diary.reason()).toMatchObject({ kind: "limit", code: 4513 });
  expect(raw.received.join()).not.toContain("xxx");
});

test("a client that reads late, but before 1 MiB waits, gets everything", async () => {
  class Hall extends Consumer {
    static override readonly groups = ["hall"];
  }
  const live = await serve({ routes: [route("/hall", Hall)] });
  const raw = await live.raw();
  await raw.enter("/hall");
  raw.socket.pause();
  for (let n = 0; n < 12; n++) await live.app.layer.groupEmit("hall", "chunk", { n, data: CHUNK });
  raw.socket.resume();
  const chunks = () => raw.received.filter((packet) => String(packet).startsWith('42/hall,["chunk"'));
  await until(() => chunks().length === 12, "all chunks");
  chunks().forEach((chunk, n) => {
    expect(String(chunk).slice(0, 40)).toContain(`"n":${n},`);
  });
});

async function askUntilCut(raw: RawClient, diary: Diary): Promise<void> {
  let id = 0;
  await until(() => {
    for (let i = 0; i < 16; i++) raw.send(`42/parrot,${id++}["say"]`);
    return diary.reasons.length > 0;
  }, "it is cut");
}

/** Opens a polling session and a namespace in it, and never polls again. */
async function enterByPolling({ url }: Live, namespace: string): Promise<void> {
  const address = `${url}/socket.io/?EIO=4&transport=polling`;
  const { sid } = JSON.parse((await (await fetch(address)).text()).slice(1)) as { sid: string };
  await fetch(`${address}&sid=${sid}`, { method: "POST", body: `40${namespace},` });
}
