/** Events as packets of the Socket.IO protocol (version 5), encoded once per namespace. */
import { encodePayload } from "../payload.ts";
import type { Frame, FrameCodec, OutgoingEvent } from "../types.ts";
import { binaryHeader, webSocketFrame } from "./engine-internals.ts";

export interface SocketFrame extends Frame {
  /** The packet's text, then its attachments. */
  readonly parts: readonly (string | Buffer)[];
  /** For Engine.IO, shared by all who get the frame. */
  readonly options: { readonly compress: boolean; readonly wsPreEncodedFrame?: readonly Buffer[] };
  /** All parts as WebSocket frames without compression, for all who can be sent them as they are. */
  readonly wire: Buffer;
}

type Kinds = readonly [plain: string, binary: string];
const EVENT: Kinds = ["2", "5"];
const ACK: Kinds = ["3", "6"];
const PLAIN = { compress: true };

export class SocketCodec implements FrameCodec<SocketFrame> {
  readonly #prefix: string;
  readonly #hasPositions: boolean;

  /** @param hasPositions - whether its clients are told where they are, by a second argument */
  constructor(namespace: string, hasPositions: boolean) {
    this.#hasPositions = hasPositions;
    this.#prefix = namespace === "/" ? "" : `${namespace},`;
  }

  encode({ event, json, attachments, position }: OutgoingEvent): SocketFrame {
    const payload =
      position !== undefined && this.#hasPositions
        ? `,${json || "null"},{"sluice":${JSON.stringify(position)}${json ? "" : ',"bare":true'}}`
        : json && `,${json}`;
    return frameOf(EVENT, `${this.#prefix}[${JSON.stringify(event)}${payload}]`, attachments);
  }

  /**
   * A handler's answer to the event of that number.
   *
   * @throws Unencodable
   */
  answer(id: number, answer: unknown): SocketFrame {
    const { json, attachments } = encodePayload([answer], Number.POSITIVE_INFINITY);
    return frameOf(ACK, `${this.#prefix}${id}${json}`, attachments);
  }
}

/** @param kinds - the packet's types, without attachments and with them */
function frameOf([plain, binary]: Kinds, body: string, attachments: readonly Uint8Array[]): SocketFrame {
  if (attachments.length === 0) {
    const text = `${plain}${body}`;
    const frame = webSocketFrame(text);
    const options = { compress: true, wsPreEncodedFrame: [frame] };
    return { bytes: frame.length, parts: [text], options, wire: frame };
  }
  const parts = attachments.map((part) => Buffer.from(part.buffer, part.byteOffset, part.byteLength));
  const text = `${binary}${attachments.length}-${body}`;
  const wire = Buffer.concat([webSocketFrame(text), ...parts.flatMap((part) => [binaryHeader(part), part])]);
  return { bytes: wire.length, parts: [text, ...parts], options: PLAIN, wire };
}
