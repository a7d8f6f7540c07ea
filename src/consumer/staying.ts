/** The middleware that stays with a connection: what it may do there, and what it stands around. */
import { ConnectionClosed, isForClient, NoHandler } from "../errors.ts";
import type { Hook } from "../facts.ts";
import type { Member } from "../layer/fan-out.ts";
import type { ConnectionScope } from "../scope.ts";
import type {
  Around,
  AroundHook,
  DisconnectReason,
  Refresh,
  ScopeChanges,
  ScopeConnection,
} from "../types.ts";
import type { ConnectionContext } from "./connection-context.ts";
import type { Consumer } from "./consumer.ts";

/** The connection that it stays with. */
export interface Host extends Member {
  readonly scope: ConnectionScope;
  readonly keys: readonly string[];
  readonly consumer: Consumer | undefined;
  /** Why it ended, once it has. */
  readonly reason: DisconnectReason | undefined;
  mayJoin(group: string): Promise<void> | undefined;
  /** To the client, in order. */
  tell(event: string, payload: unknown): void;
  announceFailure(hook: Hook, error: unknown): void;
  /** Is from now on that user's, with what others see of it as JSON; or still the same's, with another scope. */
  become(scope: ConnectionScope, user: string | undefined, info: string): void;
  /** Is from now on found by these. */
  answerTo(keys: readonly string[]): void;
}

export class Staying {
  /** What middleware has of the connection. */
  readonly face: ScopeConnection;
  readonly #context: ConnectionContext;
  readonly #host: Host;
  #arounds: readonly Around[] = [];
  #refreshes: readonly Refresh[] = [];

  constructor(context: ConnectionContext, host: Host) {
    this.#context = context;
    this.#host = host;
    this.face = this.#faceOf(host);
  }

  /** Whether anything stands around hooks and handlers. */
  get isAround(): boolean {
    return this.#arounds.length > 0;
  }

  #faceOf(host: Host): ScopeConnection {
    const { closeKeyed, sit, userId } = this.#context;
    return {
      get scope() {
        return host.scope;
      },
      close: (code, reason) => host.close(code, reason),
      change: (changes) => this.#change(changes),
      tell: (event, payload) => host.tell(event, payload),
      around: (around) => {
        this.#arounds = this.#arounds.concat(around);
      },
      onRefresh: (refresh) => {
        this.#refreshes = this.#refreshes.concat(refresh);
      },
      key: (key, instead) => this.#changeKeys(key, instead),
      unkey: (key) => this.#changeKeys(undefined, key),
      closeKeyed,
      sit: (of, room, seats) => sit(of, room, seats, host.scope.closed),
      userId,
      failed: (error) => host.announceFailure("middleware", error),
    };
  }

  #changeKeys(added: string | undefined, dropped: string | undefined): void {
    const host = this.#host;
    this.#context.layer.changeKeys(host, () => {
      const kept = host.keys.filter((key) => key !== dropped && key !== added);
      host.answerTo(added === undefined ? kept : kept.concat(added));
    });
  }

  async #change(changes: ScopeChanges): Promise<void> {
    const host = this.#host;
    if (host.consumer === undefined) {
      throw new Error("the connection is being admitted: hand the changes to next()");
    }
    if (host.reason !== undefined) throw new ConnectionClosed("the connection has ended");
    const { layer, userId, userInfo } = this.#context;
    const scope = host.scope.with(changes);
    const user = userId(scope.user);
    if (user === host.user) {
      host.become(scope, user, host.info);
    } else {
      const info = user === undefined ? "" : layer.encodeInfo(() => userInfo(scope.user));
      layer.changeUser(host, () => host.become(scope, user, info));
    }
    if ("user" in changes) await this.#leaveForbidden();
  }

  /** What the user of now may not join is left. */
  async #leaveForbidden(): Promise<void> {
    const { layer } = this.#context;
    const host = this.#host;
    const asked = layer.groupsOf(host.channel).map(async (group) => {
      try {
        await host.mayJoin(group);
      } catch (error) {
        await layer.groupDiscard(group, host.channel);
        if (!isForClient(error)) host.announceFailure("middleware", error);
      }
    });
    await Promise.all(asked);
  }

  /** Shows new credentials to all that take them; the last answer counts. */
  async refresh(auth: Readonly<Record<string, unknown>>): Promise<unknown> {
    if (this.#refreshes.length === 0) throw new NoHandler("nothing here takes new credentials");
    let answer: unknown;
    for (const refresh of this.#refreshes) answer = (await refresh(auth)) ?? answer;
    return answer;
  }

  /** Runs a hook or handler within all that stands around it, the last that came innermost. */
  async around<T>(hook: AroundHook, run: () => T | Promise<T>): Promise<T> {
    let result: { readonly value: T } | undefined;
    const core = async () => {
      result = { value: await run() };
    };
    await this.#arounds.reduceRight<() => Promise<void>>(
      (inner, around) => () => around(inner, hook),
      core,
    )();
    if (result === undefined) throw new Error(`a middleware around "${hook}" neither ran it nor refused it`);
    return (result as { readonly value: T }).value;
  }
}
