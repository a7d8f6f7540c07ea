import { isIP } from "node:net";
import type { Request } from "express";

/** The client's address, behind proxies that Express trusts (`trust proxy`) the one they report. */
export function addressOf({ ip = "", socket }: Request): string {
  // With fewer hops than proxies it may be the client's own text.
  return isIP(ip) === 0 ? (socket.remoteAddress ?? "") : ip;
}
