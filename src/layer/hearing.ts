import type { Facts } from "../facts.ts";
import { isReservedName } from "../names.ts";
import { decodePayload } from "../payload.ts";
import type { Tally } from "../tally.ts";
import type { Tracer } from "../tracer.ts";
import type { BackplaneListener, Loss } from "../types.ts";
import { decodeEnvelope, type Envelope, toMessage } from "./envelope.ts";
import type { FanOut } from "./fan-out.ts";
import type { Closing, LocalChannels } from "./local-channels.ts";
import type { LoggedGroups } from "./logged-groups.ts";
import type { NodeRequests } from "./node-requests.ts";
import type { Presence } from "./presence.ts";
import { isGroupTopic, isNodeTopic, targetOf } from "./topics.ts";

export interface HearingOptions {
  /** The layer's name. */
  readonly layer: string;
  readonly channels: LocalChannels;
  readonly fanOut: FanOut;
  /** Of groups of the framework's own. */
  readonly ears: FanOut;
  readonly requests: NodeRequests;
  readonly logged: LoggedGroups | undefined;
  readonly presence: Presence | undefined;
  readonly facts: Facts;
  readonly tally: Tally;
  readonly tracer: Tracer | undefined;
}

/** What comes over the backplane, and to whom it goes. */
export class Hearing implements BackplaneListener {
  readonly #options: HearingOptions;
  #downSince: number | undefined;

  constructor(options: HearingOptions) {
    this.#options = options;
  }

  /** Whether other nodes cannot be reached at present. */
  get isDegraded(): boolean {
    return this.#downSince !== undefined;
  }

  hear(topic: string, text: string): void {
    this.#options.tally.heard += 1;
    const envelope = decodeEnvelope(text);
    if (envelope === undefined) return this.#dropped("bad-envelope", topic, "");
    try {
      this.#handle(topic, envelope);
    } catch {
      this.#dropped("bad-envelope", topic, envelope.header.kind);
    }
  }

  dropped(topic: string, count: number): void {
    if (isGroupTopic(topic)) this.#options.presence?.dropped(targetOf(topic));
    this.#dropped("backplane", targetOf(topic), "", count);
  }

  /** That nobody elsewhere is in a group is nothing special; that a node hears nothing is. */
  unheard(topic: string): void {
    if (!isNodeTopic(topic)) return;
    const node = targetOf(topic);
    this.#options.requests.unheard(node);
    this.#dropped("no-channel", node, "");
  }

  lost({ topic, missed }: Loss): void {
    const { logged, presence, facts } = this.#options;
    if (topic === undefined || isGroupTopic(topic)) {
      logged?.suspect(topic && targetOf(topic));
      presence?.suspect(topic && targetOf(topic));
    }
    facts.lost.announce({
      ...(topic === undefined ? {} : { group: targetOf(topic) }),
      ...(missed === undefined ? {} : { missed }),
    });
  }

  down(reason: string): void {
    const { layer, facts } = this.#options;
    this.#downSince ??= performance.now();
    facts.layerDown.announce({ layer, reason });
  }

  up(): void {
    const { layer, logged, presence, facts } = this.#options;
    const downMs = performance.now() - (this.#downSince ?? performance.now());
    this.#downSince = undefined;
    logged?.suspect();
    presence?.suspect();
    facts.layerUp.announce({ layer, downMs });
  }

  #handle(topic: string, envelope: Envelope): void {
    const { tracer } = this.#options;
    if (tracer === undefined) return this.#handOver(topic, envelope);
    const { header } = envelope;
    const { kind } = header;
    const run = () => this.#handOver(topic, envelope);
    const target = targetOf(topic);
    if (kind === "direct") return tracer.delivers({ kind, what: "", members: 1 }, header.trace, run);
    if ((kind !== "emit" && kind !== "send") || isReservedName(target)) return tracer.outside(run);
    const members = this.#options.fanOut.count(target);
    const what = kind === "emit" ? header.event : "";
    return tracer.delivers({ kind, what, group: target, members }, header.trace, run);
  }

  #handOver(topic: string, { from, header, payload }: Envelope): void {
    const { fanOut, ears, channels, logged, presence, requests } = this.#options;
    switch (header.kind) {
      case "emit":
        return fanOut.emit(
          targetOf(topic),
          { event: header.event, ...payload },
          header.except && new Set(header.except),
        );
      case "send":
        return (isReservedName(targetOf(topic)) ? ears : fanOut).send(targetOf(topic), toMessage(payload));
      case "direct":
        return channels.deliver(header.channel, toMessage(payload));
      case "logged":
        return logged?.hear(targetOf(topic), header, payload.json);
      case "presence":
        return presence?.hear(targetOf(topic), payload.json);
      case "closeUser":
        return channels.closeOwned(decodePayload(payload) as Closing);
      case "request":
        return void requests.hearRequest(from, header.id, header.verb, payload);
      case "reply":
        return requests.hearReply(from, header.id, header.failed === true, payload);
    }
  }

  #dropped(
    cause: "backplane" | "bad-envelope" | "no-channel",
    target: string,
    what: string,
    count = 1,
  ): void {
    this.#options.facts.dropped.announce({ cause, target, what, count });
  }
}
