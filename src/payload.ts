/**
 * Payloads as they travel. A value is put into JSON once, whoever gets it; binary parts (`Buffer`, typed
 * arrays, `ArrayBuffer`) stay bytes beside it, and a placeholder in the JSON says where each belongs.
 * The placeholders are those of the Socket.IO protocol, so that its clients put them back together.
 */
import { MessageTooLarge, Unencodable } from "./errors.ts";
import type { EncodedPayload } from "./types.ts";

const NO_ATTACHMENTS: readonly Uint8Array[] = [];
const NOTHING: EncodedPayload = { json: "", attachments: NO_ATTACHMENTS };
/** Deeper values are refused: nothing sane is, and a circle always is. */
const MAX_DEPTH = 200;

/**
 * Encodes a value as JSON would, binary kept.
 *
 * @param maxBytes - the most that JSON and binary parts may have together
 * @throws Unencodable for what JSON cannot carry (a circle, a BigInt, a function)
 * @throws MessageTooLarge
 */
export function encodePayload(value: unknown, maxBytes: number): EncodedPayload {
  if (value === undefined) return NOTHING;
  const attachments = hasBinary(value, 0) ? ([] as Uint8Array[]) : undefined;
  let json: string | undefined;
  try {
    json = attachments ? stringifyBinary(value, attachments) : JSON.stringify(value);
  } catch (error) {
    throw new Unencodable(`a payload must be JSON or binary: ${String((error as Error).message)}`);
  }
  if (json === undefined) throw new Unencodable(`a payload must be JSON or binary, not a ${typeof value}`);
  const encoded = { json, attachments: attachments ?? NO_ATTACHMENTS };
  const bytes = byteLength(encoded);
  if (bytes > maxBytes) {
    throw new MessageTooLarge(
      `a message may have at most ${maxBytes} bytes, this one has ${bytes}; send a link to large things`,
    );
  }
  return encoded;
}

/** The value again. Each call makes a new one. */
export function decodePayload({ json, attachments }: EncodedPayload): unknown {
  if (json === "") return undefined;
  if (attachments.length === 0) return JSON.parse(json);
  return restore({ json, attachments }, (part) => part);
}

/** JSON for clients that take text alone: binary parts as base64 where they belong. */
export function inlineBinary(payload: EncodedPayload): string {
  if (payload.attachments.length === 0) return payload.json;
  return JSON.stringify(
    restore(payload, (part) => Buffer.from(part.buffer, part.byteOffset, part.byteLength).toString("base64")),
  );
}

export function byteLength({ json, attachments }: EncodedPayload): number {
  let bytes = Buffer.byteLength(json);
  for (const part of attachments) bytes += part.byteLength;
  return bytes;
}

/** Makes a value and all in it unchangeable; binary parts, which cannot be frozen, stay as they are. */
export function deepFreeze<T>(value: T): T {
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value) || Object.isFrozen(value)) {
    return value;
  }
  for (const part of Object.values(value)) deepFreeze(part);
  return Object.freeze(value);
}

function restore({ json, attachments }: EncodedPayload, form: (part: Uint8Array) => unknown): unknown {
  return JSON.parse(json, (_key, value: unknown) => {
    const part = isPlaceholder(value) ? attachments[value.num] : undefined;
    return part === undefined ? value : form(part);
  });
}

function hasBinary(value: unknown, depth: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  if (isBinary(value)) return true;
  // What an object says of itself counts, not its insides.
  const { toJSON } = value as { toJSON?: unknown };
  if (typeof toJSON === "function") return hasBinary(toJSON.call(value), depth + 1);
  if (depth > MAX_DEPTH) {
    throw new Unencodable(`a payload must not be nested more than ${MAX_DEPTH} deep (or contain itself)`);
  }
  if (Array.isArray(value)) {
    for (const part of value) if (hasBinary(part, depth + 1)) return true;
    return false;
  }
  for (const key in value) if (hasBinary((value as Record<string, unknown>)[key], depth + 1)) return true;
  return false;
}

function isBinary(value: object): value is ArrayBuffer | ArrayBufferView {
  return ArrayBuffer.isView(value) || value instanceof ArrayBuffer;
}

function stringifyBinary(value: unknown, attachments: Uint8Array[]): string | undefined {
  // A Buffer's toJSON runs before the replacer sees it, hence the look into the holder.
  return JSON.stringify(value, function (this: Record<string, unknown>, key, replaced: unknown) {
    const original = this[key];
    if (typeof original !== "object" || original === null || !isBinary(original)) return replaced;
    attachments.push(bytesOf(original));
    return { _placeholder: true, num: attachments.length - 1 };
  });
}

function bytesOf(binary: ArrayBuffer | ArrayBufferView): Uint8Array {
  if (binary instanceof ArrayBuffer) return Buffer.from(binary);
  return Buffer.from(binary.buffer, binary.byteOffset, binary.byteLength);
}

function isPlaceholder(value: unknown): value is { num: number } {
  return (
    typeof value === "object" &&
    value !== null &&
    (value as { _placeholder?: unknown })._placeholder === true &&
    typeof (value as { num?: unknown }).num === "number"
  );
}
