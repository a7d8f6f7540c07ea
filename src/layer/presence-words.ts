/** Who is present and what changes about it, in words: as nodes and logs write it, and as members are told. */
import { InvalidMessage, MessageTooLarge } from "../errors.ts";
import { ReservedEvent } from "../names.ts";
import { deepFreeze, encodePayload } from "../payload.ts";
import type { Message } from "../types.ts";
import type { Tidings } from "./fan-out.ts";
import type { PresenceChange, PresentUser as StoredUser } from "./presence-store.ts";
import type { Told } from "./roster.ts";

/** A user in a group. */
export interface PresentUser {
  readonly user: string;
  /** What the application's `userInfo` said, or `updatePresence`. */
  readonly info: unknown;
  /** On all nodes; 0 for one whose last connection ended and who is held for a while. */
  readonly connections: number;
}

export function toPresentUser({ user, info, connections }: StoredUser): PresentUser {
  return { user, info: infoOf(info), connections };
}

/** What members are told: an event for their clients, a message for those that handle it. */
export function tidingsOf(group: string, [type, { user, info: json }]: Told): Tidings {
  const info = infoOf(json);
  const payload = encodePayload({ type, group, user, info }, Number.POSITIVE_INFINITY);
  const message = deepFreeze({ type: `presence.${type}`, group, user, info }) as Message;
  return { event: { event: ReservedEvent.presence, ...payload }, message };
}

/** What another node has announced; none: something is different. Throws if it cannot be read. */
export function changesIn(json: string): readonly PresenceChange[] {
  const changes: unknown = JSON.parse(json);
  if (!Array.isArray(changes) || !changes.every(isChange)) throw new Error("no changes of presence");
  return changes;
}

/** The one change that an entry of a log is. Throws if it cannot be read. */
export function changeIn(json: string): PresenceChange {
  const [change] = changesIn(json);
  if (change === undefined) throw new Error("no change of presence");
  return change;
}

const MAX_USER_BYTES = 256;

/** Why a user cannot be counted under that name, if so. */
export function faultOfUser(user: string): InvalidMessage | undefined {
  // Half a character is stored as another; so would be another half.
  if (user !== "" && !/\p{Cs}/u.test(user) && Buffer.byteLength(user) <= MAX_USER_BYTES) return undefined;
  return new InvalidMessage(`a user who is counted has a name of 1 to ${MAX_USER_BYTES} bytes of Unicode`);
}

/**
 * A user's info as it is kept.
 *
 * @throws InvalidMessage, MessageTooLarge, Unencodable
 */
export function encodeInfo(info: unknown, maxBytes: number): string {
  const { json, attachments } = encodePayload(info, Number.POSITIVE_INFINITY);
  if (attachments.length > 0) throw new InvalidMessage("the info of a user must be JSON, without binary");
  const bytes = Buffer.byteLength(json);
  if (bytes <= maxBytes) return json;
  throw new MessageTooLarge(
    `the info of a user may have ${maxBytes} bytes as JSON (limits.presenceInfoBytes), this has ${bytes}; keep it to what everybody in a group must see`,
  );
}

function infoOf(json: string): unknown {
  try {
    return json === "" ? null : JSON.parse(json);
  } catch {
    return null;
  }
}

const KINDS: readonly unknown[] = ["join", "leave", "update", "count"];

function isChange(value: unknown): value is PresenceChange {
  const { kind, user, info, connections, before, version } = (value ?? {}) as Record<string, unknown>;
  return (
    KINDS.includes(kind) &&
    typeof user === "string" &&
    typeof info === "string" &&
    [connections, before, version].every((number) => typeof number === "number")
  );
}
