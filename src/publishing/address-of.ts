import type { Request } from "express";
import { reportedAddress } from "../index.ts";

/** The client's address, behind proxies that Express trusts (`trust proxy`) the one they report. */
export function addressOf({ ip = "", socket }: Request): string {
  // With fewer hops than proxies it may be the client's own text.
  return reportedAddress(ip) ?? socket.remoteAddress ?? "";
}
