/** The `redis` package, loaded by the first connection: whoever only might use Redis starts without it. */
let loading: Promise<typeof import("redis")> | undefined;
let loaded: typeof import("redis") | undefined;

export async function loadRedis(): Promise<typeof import("redis")> {
  loading ??= import("redis");
  loaded = await loading;
  return loaded;
}

/** Whether Redis itself has answered that; anything else is trouble with the connection. */
export function isErrorReply(error: unknown): error is Error {
  return loaded !== undefined && error instanceof loaded.ErrorReply;
}
