/** What clients and servers say to each other on a WebSocket: Socket.IO's packets, or plain JSON. */
import { EVENT, FIRST_NUMBER, payload } from "./messages.ts";

/** What a text of the server is. */
export type Said = "hello" | "ping" | "entered" | "event" | "answer" | "unknown";

export type Question = "echo" | "checked" | "broadcast";

export interface Wire {
  /** Path and query of the request for a WebSocket. */
  path(rooms: readonly number[]): string;
  said(bytes: Buffer, at: number): Said;
  /** What a client says to `hello`, to be let in. */
  enter(rooms: readonly number[]): string;
  readonly pong: string;
  /** A question with that number; its answer carries it. */
  ask(question: Question, number: number): string;
  /** Where the number stands, in an event and in an answer. */
  readonly eventNumberAt: number;
  readonly answerNumberAt: number;
}

/** The namespace of Socket.IO; for Sluice it has a route with a parameter. */
export const NAMESPACE = "/chat/7";
/** The path of plain WebSockets. */
export const PLAIN_PATH = "/chat";

const code = (character: string) => character.charCodeAt(0);
const [ZERO, TWO, THREE, FOUR] = [code("0"), code("2"), code("3"), code("4")];

const socketIo: Wire = {
  path: () => "/socket.io/?EIO=4&transport=websocket",
  said(bytes, at) {
    const first = bytes[at];
    if (first === FOUR) {
      const second = bytes[at + 1];
      if (second === TWO) return "event";
      if (second === THREE) return "answer";
      return second === ZERO ? "entered" : "unknown";
    }
    if (first === TWO) return "ping";
    return first === ZERO ? "hello" : "unknown";
  },
  enter: (rooms) => `40${NAMESPACE},${JSON.stringify({ rooms })}`,
  pong: "3",
  ask: (question, number) =>
    `42${NAMESPACE},${FIRST_NUMBER + number}${JSON.stringify([question, payload(number)])}`,
  eventNumberAt: `42${NAMESPACE},["${EVENT}",{"n":"`.length,
  answerNumberAt: `43${NAMESPACE},`.length,
};

/** `t` says what it is: (w)elcome, (m)essage, (a)nswer. */
const plain: Wire = {
  path: (rooms) => `${PLAIN_PATH}?rooms=${rooms.join()}`,
  said(bytes, at) {
    const kind = bytes[at + '{"t":"'.length];
    if (kind === code("m")) return "event";
    if (kind === code("a")) return "answer";
    return kind === code("w") ? "entered" : "unknown";
  },
  enter: () => "",
  pong: "",
  ask: (question, number) => JSON.stringify({ t: question, ...payload(number) }),
  eventNumberAt: '{"t":"m","n":"'.length,
  answerNumberAt: '{"t":"a","n":"'.length,
};

export const WIRES = { "socket.io": socketIo, plain } as const satisfies Readonly<Record<string, Wire>>;
export type WireName = keyof typeof WIRES;

/** The number in eight digits. */
export function numberIn(bytes: Buffer, at: number): number {
  let number = 0;
  for (let i = at; i < at + 8; i += 1) number = number * 10 + (bytes[i] ?? 0) - ZERO;
  return number - FIRST_NUMBER;
}
