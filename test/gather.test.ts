import { expect, test } from "@jest/globals";
import { gather } from "sluice";

/** Resolves when its signal aborts: a well-behaved service that never answers. */
function untilCut(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
}

test("all answers come back by name, whatever became of the others", async () => {
  const broken = new Error("connection refused");
  const answers = await gather(
    {
      weather: async () => ({ degrees: 21 }),
      news: untilCut,
      deaf: () => new Promise(() => {}),
      stock: () => Promise.reject(broken),
      clock: () => {
        throw broken;
      },
      plain: () => 7,
    },
    { timeoutMs: 30 },
  );
  expect(answers).toEqual({
    weather: { ok: true, value: { degrees: 21 } },
    news: { ok: false, error: "timeout" },
    deaf: { ok: false, error: "timeout" },
    stock: { ok: false, error: "failed" },
    clock: { ok: false, error: "failed" },
    plain: { ok: true, value: 7 },
  });
  const degrees: number | undefined = answers.weather.ok ? answers.weather.value.degrees : undefined;
  expect(degrees).toBe(21);
});

test("the cause of a failure is there for logs, and not in JSON", async () => {
  const broken = Object.assign(new Error("no"), { host: "10.0.0.7" });
  const { stock } = await gather({ stock: () => Promise.reject(broken) }, { timeoutMs: 1_000 });
  expect(stock.ok === false && stock.cause).toBe(broken);
  expect(JSON.stringify(stock)).toBe('{"ok":false,"error":"failed"}');
});

test("all are asked at once", async () => {
  let meet = () => {};
  const met = new Promise<void>((resolve) => {
    meet = resolve;
  });
  const answers = await gather({ first: () => met, second: () => meet() }, { timeoutMs: 10_000 });
  expect(answers).toMatchObject({ first: { ok: true }, second: { ok: true } });
});

test("each can have a limit of its own, and hears when it is over", async () => {
  const cut: string[] = [];
  const patient = (signal: AbortSignal) =>
    new Promise<string>((resolve) => signal.addEventListener("abort", () => resolve("never heard")));
  const answers = await gather(
    {
      quick: (signal) => untilCut(signal).catch((reason: Error) => void cut.push(reason.name)),
      slow: async () => "in time",
      patient,
    },
    { timeoutMs: { quick: 1, slow: 10_000, patient: 20 } },
  );
  expect(answers).toEqual({
    quick: { ok: false, error: "timeout" },
    slow: { ok: true, value: "in time" },
    patient: { ok: false, error: "timeout" },
  });
  expect(cut).toEqual(["TimeoutError"]);
});

test("when nobody wants the answers any more, all hear it and it rejects with the reason", async () => {
  const left = new AbortController();
  const reasons: unknown[] = [];
  const hear = (signal: AbortSignal) => untilCut(signal).catch((reason) => void reasons.push(reason));
  const answers = gather({ a: hear, b: hear }, { timeoutMs: 20_000, signal: left.signal });
  left.abort("gone");
  await expect(answers).rejects.toBe("gone");
  expect(reasons).toEqual(["gone", "gone"]);
  let asked = false;
  const late = gather({ a: () => (asked = true) }, { timeoutMs: 20_000, signal: left.signal });
  await expect(late).rejects.toBe("gone");
  expect(asked).toBe(false);
});

test("a limit that is none is refused before anything is asked", async () => {
  for (const timeoutMs of [0, Number.NaN, 2 ** 31, {}]) {
    let asked = false;
    const refused = gather({ a: () => (asked = true) }, { timeoutMs: timeoutMs as number });
    await expect(refused).rejects.toThrow('timeoutMs of "a" must be from 1');
    expect(asked).toBe(false);
  }
});
