import { once } from "node:events";
import { type AddressInfo, createServer, type Server as NetServer } from "node:net";
import { ConfigurationError } from "../errors.ts";
import type { ServerSettings } from "../options.ts";

/** Where a server listens. */
export interface Listening {
  /** For a browser, e.g. `http://127.0.0.1:3000`; for a unix socket its path. */
  readonly url: string;
  /** 0 for a unix socket. */
  readonly port: number;
}

type Place = Pick<ServerSettings, "host" | "port"> & Partial<Pick<ServerSettings, "socketPath" | "fd">>;

/**
 * Newcomers that the system keeps until they are taken, if it allows so many: all clients may come back at
 * once, and who is one too many for Node's 511 waits a second and more.
 */
const BACKLOG = 4_096;

/**
 * @param chosenBy - where one says which port
 * @throws ConfigurationError when the address cannot be listened on
 */
export async function bind(
  server: NetServer,
  { host, port, socketPath = "", fd = -1 }: Place,
  chosenBy = "`port`, PORT or --port",
): Promise<void> {
  const where = fd >= 0 ? `descriptor ${fd}` : socketPath === "" ? `${host}:${port}` : socketPath;
  try {
    const at = fd >= 0 ? { fd } : socketPath === "" ? { host, port } : { path: socketPath };
    server.listen({ ...at, backlog: BACKLOG });
    await once(server, "listening");
  } catch (error) {
    const { code = "", message } = error as NodeJS.ErrnoException;
    const isPort = fd < 0 && socketPath === "";
    const remedy = isPort ? REMEDIES[code] : undefined;
    throw new ConfigurationError([
      code === "EADDRINUSE"
        ? `${where} is in use already; ${isPort ? `choose another port (${chosenBy}; 0 takes a free one) or ` : ""}end what uses it`
        : `cannot listen on ${where}: ${message}${remedy === undefined ? "" : `; ${remedy}`}`,
    ]);
  }
}

/**
 * Tries an address and leaves it again, so that nothing is begun in vain where it is taken: no channel layer, and
 * above all no work on tasks.
 *
 * @throws ConfigurationError when the address cannot be listened on
 */
export async function tryAddress({ host, port, socketPath = "", fd = -1 }: Place): Promise<void> {
  if (port === 0 || socketPath !== "" || fd >= 0) return;
  const server = createServer((socket) => socket.destroy());
  await bind(server, { host, port });
  server.close();
  await once(server, "close");
}

const OWN_ADDRESS =
  "the host must be an address of this machine: 127.0.0.1 for itself alone, 0.0.0.0 for others, too";
const REMEDIES: Readonly<Record<string, string>> = {
  EADDRNOTAVAIL: OWN_ADDRESS,
  ENOTFOUND: OWN_ADDRESS,
  EACCES: "ports below 1024 may want rights that this process does not have; choose another port",
};

export function describe(server: NetServer): Listening {
  const address = server.address() as AddressInfo | string | null;
  if (address === null || typeof address === "string") return { url: address ?? "", port: 0 };
  const scheme = "setSecureContext" in server ? "https" : "http";
  const anywhere = address.address === "0.0.0.0" || address.address === "::";
  const host = anywhere ? "localhost" : address.family === "IPv6" ? `[${address.address}]` : address.address;
  return { url: `${scheme}://${host}:${address.port}`, port: address.port };
}
