/** What somebody at the page does to connections, users and tasks; nothing of it without a line of audit. */
import { randomBytes } from "node:crypto";
import {
  CloseCode,
  ConnectionClosed,
  ConnectionDenied,
  InvalidMessage,
  type PartContext,
  printable,
  type Scope,
  thrownText,
} from "../index.ts";
import type { Desk } from "./desk.ts";
import type { Guard } from "./guard.ts";
import { fieldsOf, REPORTS, text } from "./report.ts";

export const NOTICE = "dashboard.notice";
/** Characters. */
export const MAX_NOTICE = 500;
const MAX_USER = 256;

export class Acts {
  readonly #context: PartContext;
  readonly #guard: Guard;
  readonly #desk: Desk | undefined;

  constructor(context: PartContext, guard: Guard, desk: Desk | undefined) {
    this.#context = context;
    this.#guard = guard;
    this.#desk = desk;
  }

  /**
   * Does what somebody asked for, and leaves a line of it whatever becomes of it.
   *
   * @throws ConnectionDenied if they may not any more; InvalidMessage, LayerUnavailable
   */
  async act(scope: Scope, payload: unknown): Promise<object> {
    const given = fieldsOf(payload);
    const target = typeof given.target === "string" ? given.target.slice(0, MAX_NOTICE) : "";
    const fact = { action: text(given.action), target, remoteAddress: scope.remoteAddress };
    const { audited } = this.#context.signals;
    let by = "nobody";
    try {
      const visitor = await this.#guard.visitorOf(scope);
      if (visitor === undefined) {
        throw new ConnectionDenied(CloseCode.unauthenticated, "the login is over; log in again");
      }
      by = visitor.who;
      const answer = await this.#perform(...actionOf(given), given);
      audited.announce({ ...fact, by, outcome: "done" });
      return answer;
    } catch (error) {
      const outcome = error instanceof ConnectionDenied ? "refused" : "failed";
      audited.announce({ ...fact, by, outcome, reason: thrownText(error) });
      throw error;
    }
  }

  async #perform(
    action: Action,
    target: string,
    { mayReturn }: Readonly<Record<string, unknown>>,
  ): Promise<object> {
    const code = mayReturn === true ? CloseCode.unavailable : CloseCode.forbidden;
    const reason = "closed by an operator";
    const { app } = this.#context;
    switch (action) {
      case "disconnect connection":
        return this.#closeChannel(target, code, reason);
      case "disconnect user":
        if (target.length > MAX_USER) throw new InvalidMessage("this is no user's name");
        await app.closeUser(target, code, reason);
        return {};
      case "send notice":
        if (target.length > MAX_NOTICE)
          throw new InvalidMessage(`a notice has up to ${MAX_NOTICE} characters`);
        this.#context.layer.tellListeners(REPORTS, {
          ...{ type: NOTICE, id: randomBytes(9).toString("base64url"), text: target, at: Date.now() },
        });
        return {};
      case "retry task":
      case "cancel task":
      case "discard task":
        return this.#actOnTask(action.slice(0, -" task".length) as "retry", target);
      case "pause queue":
      case "resume queue":
        await this.#deskOrRefuse.steer(action.slice(0, -" queue".length) as "pause", target);
        return {};
    }
  }

  async #actOnTask(action: "retry" | "cancel" | "discard", id: string): Promise<object> {
    if (await this.#deskOrRefuse.act(action, id)) return {};
    const why = { retry: "has not failed", cancel: "has ended", discard: "runs" };
    throw new InvalidMessage(`nothing was done: this run ${why[action]}, or is not known any more`);
  }

  async #closeChannel(channel: string, code: number, reason: string): Promise<object> {
    for (const layer of this.#context.app.layers.values()) {
      try {
        await layer.closeChannel(channel, code, reason);
        return {};
      } catch (error) {
        if (!(error instanceof ConnectionClosed)) throw error;
      }
    }
    throw new InvalidMessage("this connection has ended already");
  }

  get #deskOrRefuse(): Desk {
    if (this.#desk !== undefined) return this.#desk;
    throw new InvalidMessage("this dashboard shows no tasks: give it dashboard({ tasks })");
  }
}

const ACTIONS = [
  ...(["disconnect connection", "disconnect user", "send notice"] as const),
  ...(["retry task", "cancel task", "discard task", "pause queue", "resume queue"] as const),
] as const;
type Action = (typeof ACTIONS)[number];

/** @throws InvalidMessage */
function actionOf({ action, target }: Readonly<Record<string, unknown>>): readonly [Action, string] {
  const known = ACTIONS.find((name) => name === action);
  if (known === undefined) throw new InvalidMessage(`there are the actions ${ACTIONS.join(", ")}`);
  if (typeof target !== "string" || target.trim() === "" || target.length > MAX_NOTICE) {
    throw new InvalidMessage(`"${printable(known)}" needs a target: text of up to ${MAX_NOTICE} characters`);
  }
  return [known, target];
}
