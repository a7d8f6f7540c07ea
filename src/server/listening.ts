import { once } from "node:events";
import type { AddressInfo, Server as NetServer } from "node:net";
import { ConfigurationError } from "../errors.ts";
import type { ServerSettings } from "../options.ts";

/** Where a server listens. */
export interface Listening {
  /** For a browser, e.g. `http://127.0.0.1:3000`; for a unix socket its path. */
  readonly url: string;
  /** 0 for a unix socket. */
  readonly port: number;
}

/** @throws ConfigurationError when the address cannot be listened on */
export async function bind(
  server: NetServer,
  { host, port, socketPath = "" }: Pick<ServerSettings, "host" | "port"> & { readonly socketPath?: string },
): Promise<void> {
  server.listen(socketPath === "" ? { host, port } : { path: socketPath });
  try {
    await once(server, "listening");
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const where = socketPath === "" ? `${host}:${port}` : socketPath;
    throw new ConfigurationError([
      code === "EADDRINUSE"
        ? `${where} is in use already; choose another port (0 takes a free one) or end what uses it`
        : `cannot listen on ${where}: ${message}`,
    ]);
  }
}

export function describe(server: NetServer): Listening {
  const address = server.address() as AddressInfo | string | null;
  if (address === null || typeof address === "string") return { url: address ?? "", port: 0 };
  const scheme = "setSecureContext" in server ? "https" : "http";
  const anywhere = address.address === "0.0.0.0" || address.address === "::";
  const host = anywhere ? "localhost" : address.family === "IPv6" ? `[${address.address}]` : address.address;
  return { url: `${scheme}://${host}:${address.port}`, port: address.port };
}
