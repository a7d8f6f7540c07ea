/** Parts of the time that are waited for one after the other. */
const STEPS = 4;

/**
 * What `work` comes to; rejects with what `late` makes if that takes longer than `timeoutMs`. While this process
 * did not run (it was busy, or frozen) at most a quarter of that passes, and what has come meanwhile is read
 * first: it would take its own pause for a server that is gone.
 */
export async function within<T>(timeoutMs: number, work: Promise<T>, late: () => Error): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  let reading: NodeJS.Immediate | undefined;
  const timeout = new Promise<never>((_, reject) => {
    const wait = (steps: number) => {
      timer = setTimeout(() => {
        if (steps > 1) wait(steps - 1);
        else reading = setImmediate(() => reject(late()));
      }, timeoutMs / STEPS);
    };
    wait(STEPS);
  });
  try {
    return await Promise.race([work, timeout]);
  } finally {
    clearTimeout(timer);
    clearImmediate(reading);
  }
}
