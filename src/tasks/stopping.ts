import { Cancelled, HandedBack } from "./errors.ts";

/**
 * Whether a run is to end, and why: because its broker says so, or its worker. Most runs never ask, so the
 * signal is made when one does.
 */
export class Stopping {
  readonly #broker: AbortSignal;
  #reason: Error | undefined;
  #controller: AbortController | undefined;

  /** @param broker - aborted with "cancelled" or "lost" */
  constructor(broker: AbortSignal) {
    this.#broker = broker;
  }

  /** Undefined: it may go on. */
  get reason(): Error | undefined {
    if (this.#reason === undefined && this.#broker.aborted) this.#reason = reasonOf(this.#broker);
    return this.#reason;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.reason !== undefined) this.#controller.abort(this.reason);
      else this.#broker.addEventListener("abort", () => this.stop(reasonOf(this.#broker)), { once: true });
    }
    return this.#controller.signal;
  }

  /** The first reason counts. */
  stop(reason: Error): void {
    this.#reason ??= reason;
    this.#controller?.abort(this.#reason);
  }
}

function reasonOf({ reason }: AbortSignal): Error {
  return reason === "cancelled"
    ? new Cancelled("the run was cancelled")
    : new HandedBack("this worker no longer holds the run; another may have begun it");
}
