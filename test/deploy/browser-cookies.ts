import type { Socket } from "socket.io-client";

interface Jar {
  readonly cookies: Iterable<readonly [string, { readonly value: string }]>;
}

/**
 * Makes a client come back with its cookies, as browsers do; a stock one in Node has a new jar for every
 * connection.
 *
 * @param headers - the client's `extraHeaders`; a `cookie` in them is what it comes with at first
 */
export function keepCookies({ io }: Socket, headers: { cookie?: string }): void {
  let kept = headers.cookie ?? "";
  const inJar = () => {
    const { _cookieJar: jar } = io.engine as unknown as { readonly _cookieJar?: Jar };
    return [...(jar?.cookies ?? [])].map(([name, { value }]) => `${name}=${value}`).join("; ");
  };
  io.on("reconnect_attempt", () => {
    kept = inJar() || kept;
    if (kept !== "") headers.cookie = kept;
  });
  io.on("open", () => {
    // A new cookie came with the first answer: from here on the jar's is sent.
    if (inJar() !== "") delete headers.cookie;
  });
}
