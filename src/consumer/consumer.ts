/**
 * The class people extend: hooks, verbs and their documentation. What runs it is `runner.ts`.
 */
import type { StandardSchemaV1 } from "@standard-schema/spec";
import { ConnectionDenied } from "../errors.ts";
import type { Facts } from "../facts.ts";
import type { History, HistoryOptions } from "../layer/history-reading.ts";
import type { PresentUser } from "../layer/presence-words.ts";
import type { Signal } from "../signals.ts";
import type { DisconnectReason, Message, Scope } from "../types.ts";
import { type PayloadCodec, validateNow } from "./handlers.ts";

/**
 * What a consumer may declare about itself, all of it optional. Wrong event names and payloads are then
 * compile errors.
 *
 * @example
 * interface Chat extends ConsumerTypes {
 *   params: { room: string };
 *   receives: { say: { text: string } };                    // events from its client
 *   sends: { "chat.message": { from: string; text: string } }; // events to clients
 *   messages: { "chat.closed": { by: string } };            // messages between consumers
 * }
 * class ChatConsumer extends Consumer<Chat> {}
 */
export interface ConsumerTypes {
  params?: object;
  user?: unknown;
  options?: unknown;
  receives?: object;
  sends?: object;
  messages?: object;
}

type Declared<T, Key extends string, Default> = T extends { [K in Key]: infer Value } ? Value : Default;

export type ParamsIn<T> = Declared<T, "params", Readonly<Record<string, string>>>;
export type UserIn<T> = Declared<T, "user", unknown>;
export type OptionsIn<T> = Declared<T, "options", unknown>;
/** The events that clients of a consumer send, by name, with their payloads. */
export type ReceivesIn<T> = Declared<T, "receives", Record<string, unknown>>;
/** The events that a consumer sends to its clients, by name, with their payloads. */
export type SendsIn<T> = Declared<T, "sends", Record<string, unknown>>;
export type MessagesIn<T> = Declared<T, "messages", Record<string, Record<string, unknown>>>;

/** A message of one of the declared types. */
export type MessageIn<T> =
  Declared<T, "messages", undefined> extends undefined
    ? Message
    : { [K in keyof MessagesIn<T>]: { readonly type: K } & MessagesIn<T>[K] }[keyof MessagesIn<T>];

/**
 * The methods that the declared messages run: `class C extends Consumer<Chat> implements
 * MessageHandlers<Chat>` makes a missing or wrong handler a compile error.
 */
export type MessageHandlers<T> = {
  [K in keyof MessagesIn<T> & string as MethodOf<K>]: (
    message: { readonly type: K } & MessagesIn<T>[K],
  ) => unknown;
};
type MethodOf<Type extends string> = Type extends `${infer Head}.${infer Tail}`
  ? `${Head}${Capitalized<Tail>}`
  : Type;
type Capitalized<Type extends string> = Type extends `${infer Head}.${infer Tail}`
  ? `${Capitalize<Head>}${Capitalized<Tail>}`
  : Capitalize<Type>;

/** One row of `static events`. Without a schema the event takes no payload. */
export interface EventEntry<C = never, Input = unknown> {
  readonly schema?: StandardSchemaV1<Input, unknown> | undefined;
  /** Gets the consumer and what the schema made of the payload; what it returns is the acknowledgement. */
  readonly handler: (consumer: C, payload: never) => unknown;
}

/**
 * All rows that a consumer's declared `receives` ask for:
 * `static events = { ... } satisfies EventTable<ChatConsumer>`.
 */
export type EventTable<C extends Consumer> =
  C extends Consumer<infer T>
    ? { readonly [E in keyof ReceivesIn<T>]: EventEntry<C, ReceivesIn<T>[E]> }
    : never;

/**
 * A row of `static events`; the schema types the payload.
 *
 * @example
 * static events = { say: event(Say, (chat: ChatConsumer, say) => chat.say(say.text)) };
 */
export function event<C, S extends StandardSchemaV1>(
  schema: S,
  handler: (consumer: C, payload: StandardSchemaV1.InferOutput<S>) => unknown,
): {
  schema: StandardSchemaV1<StandardSchemaV1.InferInput<S>, unknown>;
  handler: (consumer: C, payload: StandardSchemaV1.InferOutput<S>) => unknown;
} {
  return { schema: schema as never, handler };
}

/** How `ask` waits for a client's answer. */
export interface AskOptions {
  /** How long the client may take. Default 10,000. */
  readonly timeoutMs?: number;
}

export interface GroupSendOptions {
  /** In groups with history: what was sent under the same key before (within some minutes) is not sent again. */
  readonly idempotencyKey?: string;
}

/** Of events to groups. */
export interface EmitOptions extends GroupSendOptions {
  /** Channels that do not get it, e.g. `this.channel`. */
  readonly except?: string | readonly string[];
}

/** What a consumer is made with; pass it on if you write a constructor. */
export interface ConsumerContext<T extends ConsumerTypes = ConsumerTypes> {
  readonly scope: Scope<ParamsIn<T>, UserIn<T>>;
  readonly options: OptionsIn<T>;
  /** @internal */
  readonly verbs: ConsumerVerbs;
}

/** What a consumer asks of the machine that runs it. */
export interface ConsumerVerbs {
  readonly channel: string;
  readonly scope: Scope;
  send(event: string, payload: unknown): void;
  ask(event: string, payload: unknown, options?: AskOptions): Promise<unknown>;
  close(code: number, reason: string): void;
  groupAdd(group: string): Promise<void>;
  groupDiscard(group: string): Promise<void>;
  groupSend(group: string, message: Message, options?: GroupSendOptions): Promise<void>;
  channelSend(channel: string, message: Message): Promise<void>;
  history(group: string, options?: HistoryOptions): Promise<History>;
  groupEmit(group: string, event: string, payload: unknown, options?: EmitOptions): Promise<void>;
  presence(group: string): Promise<readonly PresentUser[]>;
  presenceCount(group: string): Promise<number>;
  sendPresence(group: string): Promise<void>;
  updatePresence(group: string, info: unknown): Promise<void>;
  readonly signals: Facts;
  listen<Fact>(signal: Signal<Fact>, receiver: (fact: Fact) => unknown): () => void;
}

declare const types: unique symbol;

/**
 * One connection of one client to one route. Extend it; the framework makes one instance per connection.
 *
 * Hooks and handlers of one instance run one at a time and in order: `connect` first, then `receive` and
 * the handlers of messages as they come, `disconnect` last. An error of the {@link ClientError} family
 * answers the event that caused it; anything else that a hook throws ends the connection, and the client
 * hears "internal error".
 *
 * A message between consumers runs the method its type names: `{ type: "chat.message" }` runs
 * `chatMessage(message)`. Messages are shared by all who get them, and frozen.
 *
 * @example
 * class ChatConsumer extends Consumer {
 *   readonly room = `chat.${this.scope.params.room}`;
 *
 *   override async connect() {
 *     await this.groupAdd(this.room);
 *   }
 *   override async receive(event: string, payload: unknown) {
 *     await this.groupEmit(this.room, "said", this.validate(z.string(), payload));
 *   }
 * }
 */
export abstract class Consumer<T extends ConsumerTypes = ConsumerTypes> {
  /** Only for types. */
  declare readonly [types]: T;

  /** Groups that every instance joins before `connect` and leaves at the end. */
  static readonly groups?: readonly string[] | ((scope: Scope<never, never>) => readonly string[]);
  /** Events that clients may send, each with its schema and handler. Comes before `receive`. */
  static readonly events?: Readonly<Record<string, EventEntry>>;
  /** How many handlers of one instance may run at once; more than 1 gives up their order. Default 1. */
  static readonly concurrency?: number;
  /** Messages and events that may wait for one instance. By default `limits.mailbox` of the application. */
  static readonly mailbox?: number;
  /**
   * Changes payloads on their way: of events to and from its clients, acknowledgements, answers to `ask`,
   * and what `groupEmit` of an instance sends. For values that JSON does not have.
   */
  static readonly codec?: PayloadCodec;
  /** The channel layer that its groups and channels are on, one of the application's `layers`. */
  static readonly layer?: string;

  /** What the route was given as `options`. */
  readonly options: OptionsIn<T>;
  readonly #verbs: ConsumerVerbs;

  constructor(context: ConsumerContext<T>) {
    this.options = context.options;
    this.#verbs = context.verbs;
  }

  /** What is known of the connection now: another one after a login or a refreshed token. */
  get scope(): Scope<ParamsIn<T>, UserIn<T>> {
    return this.#verbs.scope as never;
  }

  /** The address of this consumer, for `layer.send` and `except`. */
  get channel(): string {
    return this.#verbs.channel;
  }

  /**
   * Returning accepts the client, {@link deny} refuses it. What is sent before that waits, and is thrown
   * away if the client is refused. Must end within the server's `connectTimeoutMs`.
   */
  connect(): unknown {
    return undefined;
  }

  /**
   * An event of the client that `static events` does not have. What it returns is the acknowledgement.
   * The payload is whatever the client sent: {@link validate} it. If a class neither has `receive` nor an
   * entry in `static events`, the client is told `no_handler`.
   */
  receive?(event: string, payload: unknown): unknown;

  /**
   * Always runs, exactly once, after the groups are left, if the consumer was constructed: also when
   * `connect` refused or threw.
   */
  disconnect(_reason: DisconnectReason): unknown {
    return undefined;
  }

  /**
   * Sends an event to this client. Events, acknowledgements and group events reach it in the order in
   * which they were sent. At most once: what is on its way when the connection breaks is lost.
   *
   * @throws InvalidName, InvalidMessage, MessageTooLarge
   */
  send<E extends keyof SendsIn<T> & string>(event: E, ...payload: PayloadArgs<SendsIn<T>[E]>): void {
    this.#verbs.send(event, payload[0]);
  }

  /**
   * Sends an event to this client and waits for its answer, which is whatever the client gave.
   * Rejects with `AskTimeout` or `ConnectionClosed`. Cannot be used in `connect`: the client is not
   * there yet.
   */
  ask<E extends keyof SendsIn<T> & string>(
    event: E,
    ...[payload, options]: PayloadArgs<SendsIn<T>[E], [options?: AskOptions]>
  ): Promise<unknown> {
    return this.#verbs.ask(event, payload, options);
  }

  /**
   * Ends the connection; the client is told code and reason first. With 4400-4499 it does not come back
   * by itself, with 4500-4599 it does. {@link disconnect} runs when the handler that called this is done.
   */
  close(code = 4400, reason = "closed by the server"): void {
    this.#verbs.close(code, reason);
  }

  /** Refuses the client, by throwing. Code as in {@link close}, 4403 is "forbidden". */
  deny(code = 4403, reason = "forbidden"): never {
    throw new ConnectionDenied(code, reason);
  }

  /**
   * Joins a group. Resolved: every message that any node sends to it later reaches this consumer.
   *
   * @throws InvalidName; RateLimited for too many groups; LayerUnavailable
   */
  groupAdd(group: string): Promise<void> {
    return this.#verbs.groupAdd(group);
  }

  /** Leaves a group. Resolved: nothing that is sent to it reaches this consumer any more. */
  groupDiscard(group: string): Promise<void> {
    return this.#verbs.groupDiscard(group);
  }

  /**
   * Runs the handler of the message's type on every consumer in the group, on every node, this one
   * included. Per sender and group in order, at most once; in a group with history in one order for all
   * members, and whoever comes back is given what it missed. Resolves when it is handed over, with history
   * when it is appended.
   *
   * @throws LayerUnavailable if it could not be appended; then nobody gets it, or all do
   */
  groupSend(group: string, message: MessageIn<T>, options?: GroupSendOptions): Promise<void> {
    return this.#verbs.groupSend(group, message as Message, options);
  }

  /**
   * Sends a message to one receiver: the consumer whose `channel` this is, wherever it runs (at most once), or
   * a named channel that workers handle (see `layer.send`).
   *
   * @throws InvalidName, InvalidMessage, MessageTooLarge, LayerUnavailable
   */
  channelSend(channel: string, message: Message): Promise<void> {
    return this.#verbs.channelSend(channel, message);
  }

  /**
   * What was sent to a group that keeps history, oldest first.
   *
   * @throws NoHandler if its policy keeps none; LayerUnavailable
   */
  history(group: string, options?: HistoryOptions): Promise<History> {
    return this.#verbs.history(group, options);
  }

  /**
   * Sends an event straight to the clients of all consumers in the group, on every node; encoded once.
   * Order, delivery and errors as with {@link groupSend}.
   */
  groupEmit<E extends keyof SendsIn<T> & string>(
    group: string,
    event: E,
    ...[payload, options]: PayloadArgs<SendsIn<T>[E], [options?: EmitOptions]>
  ): Promise<void> {
    return this.#verbs.groupEmit(group, event, payload, options);
  }

  /**
   * Who is in a group whose policy keeps presence, on all nodes: each user once, with info and number of
   * connections. In a group that this consumer is in, its own user is among them.
   *
   * @throws InvalidName; NoHandler if its policy keeps no presence; LayerUnavailable
   */
  presence(group: string): Promise<readonly PresentUser[]> {
    return this.#verbs.presence(group);
  }

  /** How many users are in a group; costs the same for any number. Throws as {@link presence} does. */
  presenceCount(group: string): Promise<number> {
    return this.#verbs.presenceCount(group);
  }

  /**
   * Sends its client the list of {@link presence} as the event `sluice.presence`, with
   * `{ type: "list", group, users }`. What the client is told before is in it, what it is told later comes
   * after it; so a client that begins with the list and applies what follows always knows who is there.
   * In a group with history a client that is still being given what it missed gets the list after that, and
   * where some of the log was just lost, when it is known again who is there; this then resolves before.
   *
   * @throws as {@link presence} does; MessageTooLarge
   */
  sendPresence(group: string): Promise<void> {
    return this.#verbs.sendPresence(group);
  }

  /**
   * Changes what others see of this connection's user in a group, for all connections of the user; the
   * members are told.
   *
   * @throws NoHandler if the group keeps no presence; InvalidMessage if the user is not in it;
   * MessageTooLarge; LayerUnavailable: the members are told later
   */
  updatePresence(group: string, info: unknown): Promise<void> {
    return this.#verbs.updatePresence(group, info);
  }

  /** The application's facts, for {@link listen}. */
  get signals(): Facts {
    return this.#verbs.signals;
  }

  /**
   * Hears a signal, the application's or one of yours, until the connection ends. The receiver waits its
   * turn like the handler of a message; facts that come while the mailbox is full are dropped.
   *
   * @example
   * this.listen(this.signals.layerDown, () => this.send("alone", true));
   * @returns a function that ends it earlier
   */
  listen<Fact>(signal: Signal<Fact>, receiver: (fact: Fact) => unknown): () => void {
    return this.#verbs.listen(signal, receiver);
  }

  /**
   * Checks a payload by any Standard Schema (zod, valibot, arktype, ...) and returns what it makes of it.
   * For schemas that validate asynchronously use `static events`.
   *
   * @throws InvalidMessage with the issues, which answers the client
   */
  validate<S extends StandardSchemaV1>(schema: S, payload: unknown): StandardSchemaV1.InferOutput<S> {
    return validateNow(schema, payload);
  }
}

/** A payload, which may be left out if `undefined` will do, and what comes after it. */
type PayloadArgs<Payload, More extends unknown[] = []> = undefined extends Payload
  ? [payload?: Payload, ...More]
  : [payload: Payload, ...More];

/** A class that routes can be given. */
export interface ConsumerClass<T extends ConsumerTypes = ConsumerTypes> {
  new (context: ConsumerContext<T>): Consumer<T>;
  readonly name: string;
  readonly groups?: readonly string[] | ((scope: Scope<never, never>) => readonly string[]);
  readonly events?: Readonly<Record<string, EventEntry>>;
  readonly concurrency?: number;
  readonly mailbox?: number;
  readonly codec?: PayloadCodec;
  readonly layer?: string;
}
