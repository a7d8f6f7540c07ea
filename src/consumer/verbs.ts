/** What a consumer does: speaks to its client and to groups, joins and leaves them, and hears signals. */
import { ConnectionClosed, RateLimited } from "../errors.ts";
import type { Facts, LimitName } from "../facts.ts";
import type { Member } from "../layer/fan-out.ts";
import type { History, HistoryOptions } from "../layer/history-reading.ts";
import type { PresentUser } from "../layer/presence-words.ts";
import { checkEventName, checkGroupName, ReservedEvent } from "../names.ts";
import { encodePayload } from "../payload.ts";
import type { Signal } from "../signals.ts";
import type { Allowances, ClientLink, DisconnectReason, Message, Scope } from "../types.ts";
import type { ConnectionContext } from "./connection-context.ts";
import type { AskOptions, Consumer, ConsumerVerbs, EmitOptions, GroupSendOptions } from "./consumer.ts";
import type { PayloadCodec } from "./handlers.ts";

/** The connection whose consumer that is, as a member of groups and in its state. */
export interface Speaker extends Member {
  readonly scope: Scope;
  readonly consumer: Consumer | undefined;
  /** Of its class, if that has one. */
  readonly payloadCodec: PayloadCodec | undefined;
  readonly link: ClientLink;
  readonly allowances: Allowances;
  readonly isOpen: boolean;
  /** Why it ended, once it has. */
  readonly reason: DisconnectReason | undefined;
  /** To the client, in order. */
  tell(event: string, payload: unknown): void;
  /** Runs that in turn with the handlers. */
  hear(what: string, run: () => unknown): void;
  /** The client has come to a limit. */
  limited(limit: LimitName): void;
}

export class Verbs implements ConsumerVerbs {
  readonly #context: ConnectionContext;
  readonly #speaker: Speaker;
  /** What ends the hearing of signals. */
  #ears: Set<() => void> | undefined;

  constructor(context: ConnectionContext, speaker: Speaker) {
    this.#context = context;
    this.#speaker = speaker;
  }

  get channel(): string {
    return this.#speaker.channel;
  }

  get scope(): Scope {
    return this.#speaker.scope;
  }

  get signals(): Facts {
    return this.#context.facts;
  }

  send(event: string, payload: unknown): void {
    this.#speaker.tell(checkEventName(event), this.#encoded(payload));
    if (this.#speaker.reason === undefined) this.#context.tally.sentToClients += 1;
  }

  /** As the class' codec has it, if there is one. */
  #encoded(payload: unknown): unknown {
    const { payloadCodec } = this.#speaker;
    return payloadCodec === undefined ? payload : payloadCodec.encode(payload);
  }

  async ask(event: string, payload: unknown, { timeoutMs = 10_000 }: AskOptions = {}): Promise<unknown> {
    checkEventName(event);
    const encoded = this.#encoded(payload);
    encodePayload(encoded, this.#context.limits.maxMessageBytes);
    const { isOpen, reason, link, payloadCodec } = this.#speaker;
    if (!isOpen) {
      throw new ConnectionClosed(
        reason === undefined
          ? "ask() works once the client is let in: not in connect()"
          : "the client cannot be asked: the connection has ended",
      );
    }
    this.#context.tally.sentToClients += 1;
    const answer = await link.ask(event, encoded, timeoutMs);
    return payloadCodec === undefined ? answer : payloadCodec.decode(answer);
  }

  close(code: number, reason: string): void {
    this.#speaker.close(code, reason);
  }

  async groupAdd(group: string): Promise<void> {
    checkGroupName(group);
    const { channel, reason } = this.#speaker;
    if (reason !== undefined) {
      throw new ConnectionClosed(`cannot join the group "${group}": the connection has ended`);
    }
    const { layer } = this.#context;
    if (!layer.isIn(group, channel)) this.#checkRoomFor(group);
    return layer.join(group, channel);
  }

  #checkRoomFor(group: string): void {
    const { layer, limits } = this.#context;
    const { channel, allowances } = this.#speaker;
    if (layer.groupCount(channel) >= limits.groupsPerConnection) {
      this.#speaker.limited("groupsPerConnection");
      throw new RateLimited(
        `a connection may be in ${limits.groupsPerConnection} groups at once`,
        "groupsPerConnection",
      );
    }
    if (!layer.isUsed(group) && !allowances.newGroups.take()) {
      this.#speaker.limited("newGroupsPerSecond");
      throw new RateLimited(
        "too many new groups in too little time; try again in a second",
        "newGroupsPerSecond",
      );
    }
  }

  groupDiscard(group: string): Promise<void> {
    return this.#context.layer.groupDiscard(group, this.channel);
  }

  groupSend(group: string, message: Message, options?: GroupSendOptions): Promise<void> {
    return this.#context.layer.groupSend(group, message, options);
  }

  groupEmit(group: string, event: string, payload: unknown, options?: EmitOptions): Promise<void> {
    const { layer } = this.#context;
    const { payloadCodec } = this.#speaker;
    if (payloadCodec === undefined) return layer.groupEmit(group, event, payload, options);
    // What the codec throws rejects, as all that this verb throws.
    return new Promise((resolve) => {
      resolve(layer.groupEmit(group, event, payloadCodec.encode(payload), options));
    });
  }

  channelSend(channel: string, message: Message): Promise<void> {
    return this.#context.layer.send(channel, message);
  }

  history(group: string, options?: HistoryOptions): Promise<History> {
    return this.#context.layer.history(group, options);
  }

  presence(group: string): Promise<readonly PresentUser[]> {
    return this.#context.layer.presence(group);
  }

  presenceCount(group: string): Promise<number> {
    return this.#context.layer.presenceCount(group);
  }

  sendPresence(group: string): Promise<void> {
    return this.#context.layer.sendPresence(group, this.channel, (users, isInTurn) => {
      const list = { type: "list", group, users };
      if (!isInTurn) return this.#speaker.tell(ReservedEvent.presence, list);
      const encoded = encodePayload(list, this.#context.limits.maxMessageBytes);
      const frame = this.#speaker.codec.encode({ event: ReservedEvent.presence, ...encoded });
      this.#speaker.writeInTurn(frame);
    });
  }

  updatePresence(group: string, info: unknown): Promise<void> {
    return this.#context.layer.updatePresence(group, this.#speaker, info);
  }

  listen<Fact>(signal: Signal<Fact>, receiver: (fact: Fact) => unknown): () => void {
    const speaker = this.#speaker;
    if (speaker.reason !== undefined) throw new ConnectionClosed("cannot listen: the connection has ended");
    const disconnect = signal.connect((fact) => {
      speaker.hear(signal.name, () => receiver.call(speaker.consumer, fact));
    });
    const end = () => {
      disconnect();
      this.#ears?.delete(end);
    };
    this.#ears ??= new Set();
    this.#ears.add(end);
    return end;
  }

  /** Hears no signal any more. */
  endListening(): void {
    for (const end of this.#ears ?? []) end();
  }
}
