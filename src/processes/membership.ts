import type { Socket } from "node:net";
import type { Server } from "../server/server.ts";
import { isHandover, type Port, type Report } from "./protocol.ts";

const REPORT_INTERVAL_MS = 1_000;

/** This process' part in a crew: takes what the front door hands over, and tells how much it has to do. */
export class Membership {
  readonly #server: Server;
  readonly #port = process as unknown as Port;
  #reports: NodeJS.Timeout | undefined;

  /** @param number - of this process; begins the ids of its sessions */
  constructor(server: Server) {
    this.#server = server;
  }

  /** @param stopMs - what the server's `stop` may take */
  async begin(number: number, stopMs: number): Promise<void> {
    this.#port.on("message", (message, handle) => {
      // Without a handle it was closed on the way.
      if (isHandover(message) && handle) this.#server.take(handle as Socket, message.head);
    });
    await this.#server.share(number);
    this.#report({ sluice: "ready", stopMs });
    // Ends with the process, like the channel that it speaks on.
    this.#reports = setInterval(() => {
      this.#report({ sluice: "load", connections: this.#server.connections });
    }, REPORT_INTERVAL_MS);
    this.#reports.unref();
  }

  /** Newcomers should go elsewhere. */
  leave(): void {
    clearInterval(this.#reports);
    this.#report({ sluice: "leaving" });
  }

  #report(report: Report): void {
    this.#port.send?.({ ...report }, () => {});
  }
}
