/** What one of several calls came to. */
export type Gathered<T> =
  | { readonly ok: true; readonly value: T }
  | {
      readonly ok: false;
      /** It took too long, or threw. */
      readonly error: "timeout" | "failed";
      /** What it threw. For logs: not enumerable, so that it does not get into an answer as JSON. */
      readonly cause?: unknown;
    };

/** Gets a signal that aborts when its time is over, or when nobody wants the answers any more. */
export type Gatherable<T> = (signal: AbortSignal) => T | PromiseLike<T>;

type Calls = Readonly<Record<string, Gatherable<unknown>>>;

type Answers<C extends Calls> = {
  readonly [Name in keyof C]: Gathered<C[Name] extends Gatherable<infer T> ? Awaited<T> : never>;
};

/** How long {@link gather} waits, and what ends it. */
export interface GatherOptions<Name extends string = string> {
  /** How long each may take; one number for all, or one for each. */
  readonly timeoutMs: number | Readonly<Record<Name, number>>;
  /** Ends all of it: `scope.closed`, so that nothing is asked for a client who has left. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Calls several services at once and waits until each has answered, failed or taken too long: a slow or broken
 * one costs its own part of the answer, no more. What is cut off hears its signal; what ignores it is no longer
 * waited for.
 *
 * @returns what each came to, by its name
 * @throws the signal's reason when that aborts
 *
 * @example
 * const { weather, news } = await gather(
 *   {
 *     weather: async (signal) => (await fetch(weatherUrl, { signal })).json(),
 *     news: async (signal) => (await fetch(newsUrl, { signal })).json(),
 *   },
 *   { timeoutMs: 800, signal: scope.closed },
 * );
 * // weather: { ok: true, value: ... }, news: { ok: false, error: "timeout" }
 */
export async function gather<const C extends Calls>(
  calls: C,
  { timeoutMs, signal }: GatherOptions<keyof C & string>,
): Promise<Answers<C>> {
  signal?.throwIfAborted();
  const limitOf = (name: keyof C & string) =>
    checkLimit(typeof timeoutMs === "number" ? timeoutMs : timeoutMs[name], name);
  const limited = Object.entries(calls).map(([name, call]) => ({ name, call, limitMs: limitOf(name) }));
  const answers = limited.map(async ({ name, call, limitMs }) => {
    return [name, await answerOf(call, limitMs, signal)] as const;
  });
  return Object.fromEntries(await Promise.all(answers)) as Answers<C>;
}

async function answerOf<T>(
  call: Gatherable<T>,
  limitMs: number,
  outer: AbortSignal | undefined,
): Promise<Gathered<T>> {
  const cut = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  let leave = () => {};
  const timeout = new Promise<Gathered<T>>((resolve, reject) => {
    timer = setTimeout(() => {
      const late = new DOMException(`it took longer than ${limitMs} ms`, "TimeoutError");
      resolve(notOk("timeout", late));
      cut.abort(late);
    }, limitMs);
    leave = () => {
      reject(outer?.reason);
      cut.abort(outer?.reason);
    };
    outer?.addEventListener("abort", leave, { once: true });
  });
  const answer = (async () => call(cut.signal))().then(
    (value): Gathered<T> => ({ ok: true, value }),
    (error) => notOk<T>("failed", error),
  );
  try {
    return await Promise.race([answer, timeout]);
  } finally {
    clearTimeout(timer);
    outer?.removeEventListener("abort", leave);
  }
}

function notOk<T>(error: "timeout" | "failed", cause: unknown): Gathered<T> {
  return Object.defineProperty({ ok: false as const, error }, "cause", { value: cause });
}

function checkLimit(limitMs: number | undefined, name: string): number {
  // Timers overflow beyond 31 bits and would fire at once.
  if (limitMs !== undefined && limitMs >= 1 && limitMs < 2 ** 31) return limitMs;
  throw new RangeError(`timeoutMs of "${name}" must be from 1 to 2^31 - 1, not ${limitMs}`);
}
