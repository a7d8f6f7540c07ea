/**
 * The rules for names, in one place. They are those of Django Channels: ASCII letters, digits, `-`, `_`
 * and `.`, fewer than 100 characters. What begins with `sluice.` belongs to the framework.
 */
import { InvalidMessage, InvalidName } from "./errors.ts";

const MAX_LENGTH = 99;
const NAME = /^[A-Za-z0-9._-]{1,99}$/;
const CHANNEL = /^[A-Za-z0-9._-]{1,99}![A-Za-z0-9._-]{1,99}$/;
const MESSAGE_TYPE = /^[a-z][a-z0-9]*(\.[a-z0-9]+)+$/;
const RESERVED_PREFIX = "sluice.";
/** Names that Socket.IO keeps for itself, on either side. */
const SOCKET_IO_EVENTS = new Set([
  "connect",
  "connect_error",
  "disconnect",
  "disconnecting",
  "newListener",
  "removeListener",
]);

/** Event names of the framework, from the server to the client. */
export const ReservedEvent = {
  /** From the client: new credentials, as `auth`; answered with `{ expiresInMs }` or an error. */
  auth: "sluice.auth",
  /** `{ code, reason }`, right before the server closes. */
  close: "sluice.close",
  /** `{ inMs }`: the token ends then; send another one as `sluice.auth`. */
  expiring: "sluice.expiring",
  /** `{ event, code, message }`: an event without acknowledgement was refused. */
  error: "sluice.error",
  /** `{ id, text, at }`: words for the person at the page, from whoever runs the application. */
  notice: "sluice.notice",
  /** From the client: `{ group, limit, before }`, answered with what it missed or never saw. */
  history: "sluice.history",
  /** `{ type, group, user, info }` with type join, leave, update; or `{ type: "list", group, users }`. */
  presence: "sluice.presence",
} as const;

/** Returns the name of a group, or throws `InvalidName`. */
export function checkGroupName(name: string): string {
  if (typeof name !== "string" || !NAME.test(name)) throw badName("group name", name);
  if (name.startsWith(RESERVED_PREFIX)) throw reserved("group name", name);
  return name;
}

/** Returns the name of a group of the framework's own, or throws `InvalidName`. */
export function checkReservedName(name: string): string {
  if (NAME.test(name) && name.startsWith(RESERVED_PREFIX)) return name;
  throw badName(`group name of the framework's own ("${RESERVED_PREFIX}…")`, name);
}

/** Whether a group is the framework's own: it keeps nothing, and no policy is about it. */
export function isReservedName(name: string): boolean {
  return name.startsWith(RESERVED_PREFIX);
}

/** Whether it could be the name of a group of an application. */
export function isGroupName(name: unknown): name is string {
  return typeof name === "string" && NAME.test(name) && !name.startsWith(RESERVED_PREFIX);
}

/** For a channel's name that is no address, and that nobody takes messages for. */
export function nobodyTakes(name: string): InvalidName {
  return new InvalidName(
    `no worker takes messages for the channel "${name}": declare it in new Tasks({ channels: [channel("${name}", ...)] }), or send to the channel of a consumer (node!connection)`,
  );
}

/** A channel is the address of one consumer: `<node>!<connection>`. */
export function checkChannelName(name: string): string {
  if (typeof name !== "string" || !CHANNEL.test(name)) throw badName("channel name (node!connection)", name);
  return name;
}

export function channelName(node: string, connection: string): string {
  return `${node}!${connection}`;
}

/** The node that a channel lives on. */
export function nodeOf(channel: string): string {
  return channel.slice(0, channel.indexOf("!"));
}

/** Returns the name of an event, whoever sends it, or throws `InvalidName`. */
export function checkEventName(name: unknown): string {
  if (typeof name !== "string" || name.length === 0 || name.length > MAX_LENGTH || hasControls(name)) {
    throw new InvalidName(
      `an event name is text of 1 to ${MAX_LENGTH} characters without control characters, not ${shown(name)}`,
    );
  }
  if (SOCKET_IO_EVENTS.has(name)) {
    throw new InvalidName(`the event name "${name}" belongs to Socket.IO; choose another`);
  }
  if (name.startsWith(RESERVED_PREFIX)) throw reserved("event name", name);
  return name;
}

/** Returns the type of a message between consumers, or throws `InvalidMessage`. */
export function checkMessageType(type: unknown): string {
  if (typeof type === "string" && type.length <= MAX_LENGTH && MESSAGE_TYPE.test(type)) return type;
  throw new InvalidMessage(
    `a message needs a dotted type such as "chat.message" (which runs the method chatMessage), not ${shown(type)}`,
  );
}

/** The type that runs a method: `chatMessage` is `chat.message`; one word is no type. */
export function messageTypeOf(method: string): string | undefined {
  const type = method.replace(/([a-z0-9])([A-Z])/g, "$1.$2").toLowerCase();
  return MESSAGE_TYPE.test(type) ? type : undefined;
}

/**
 * The candidate that was probably meant, if one is close enough.
 *
 * @param maxDistance - how many characters may be wrong
 */
export function nearest(
  name: string,
  candidates: Iterable<string>,
  maxDistance = Math.max(2, Math.floor(name.length / 3)),
): string | undefined {
  let best: string | undefined;
  let bestDistance = maxDistance + 1;
  for (const candidate of candidates) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** Text from outside, made fit for a log or an error message: cut, and without control characters. */
export function printable(text: string, maxLength = 100): string {
  const cut = text.length > maxLength ? `${text.slice(0, maxLength)}…` : text;
  return cut.replace(/[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/gu, escaped);
}

/** The same for what has lines of its own, a stack or JSON, whole: breaks of lines stay. */
export function printableLines(text: string): string {
  return text.replace(/[^\P{Cc}\n]|[\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/gu, escaped);
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

function hasControls(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x20 || code === 0x7f) return true;
  }
  return false;
}

function badName(what: string, name: unknown): InvalidName {
  return new InvalidName(
    `a ${what} is 1 to ${MAX_LENGTH} ASCII letters, digits, "-", "_" or ".", not ${shown(name)}`,
  );
}

function reserved(what: string, name: string): InvalidName {
  return new InvalidName(
    `the ${what} "${name}" begins with "${RESERVED_PREFIX}", which belongs to the framework`,
  );
}

function shown(value: unknown): string {
  return typeof value === "string" ? `"${printable(value, 40)}"` : typeof value;
}

/** Levenshtein's distance: the fewest insertions, deletions and replacements of one character. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, replaced));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
