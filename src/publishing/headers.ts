/** What a request's headers say; of each that matters there may be one. */
import type { IncomingMessage } from "node:http";
import { InvalidMessage } from "../index.ts";
import { SENDERS_NAME } from "./events.ts";
import { Refused } from "./refused.ts";

const JSON_TYPE = /^application\/json *(?:; *charset *= *"?utf-8"? *)?$/i;
const BEARER = /^Bearer +([^\s]+)$/i;
const QUOTED = /^"(.*)"$/;

/** The key that was sent, whatever it is worth. */
export function keyTextOf(request: IncomingMessage): string | undefined {
  const { authorization = [], "x-api-key": apiKeys = [] } = request.headersDistinct;
  if (authorization.length + apiKeys.length > 1) throw new InvalidMessage("send one key, in one header");
  const [text] = [...authorization.map((value) => BEARER.exec(value)?.[1] ?? ""), ...apiKeys];
  return text;
}

/** @throws Refused (415) */
export function checkMediaType(request: IncomingMessage): void {
  const { "content-type": types = [], "content-encoding": encodings = [] } = request.headersDistinct;
  const isPlain = encodings.every((encoding) => encoding.toLowerCase() === "identity");
  if (isPlain && types.length === 1 && JSON_TYPE.test(types[0] as string)) return;
  throw new Refused(
    415,
    "unsupported_media_type",
    isPlain ? "send JSON in UTF-8, as Content-Type: application/json" : "send the body uncompressed",
    { headers: isPlain ? { Accept: "application/json" } : { "Accept-Encoding": "identity" } },
  );
}

/** @throws InvalidMessage */
export function idempotencyKeyOf(request: IncomingMessage): string | undefined {
  const { "idempotency-key": given = [] } = request.headersDistinct;
  const [value] = given;
  if (value === undefined) return undefined;
  // The draft puts it in quotes, most programs do not.
  const name = QUOTED.exec(value)?.[1] ?? value;
  if (given.length === 1 && SENDERS_NAME.test(name)) return name;
  throw new InvalidMessage(
    'an Idempotency-Key is 1 to 128 visible ASCII characters without " and \\, in one header; take a UUID',
  );
}
