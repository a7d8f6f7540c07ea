import type { StandardSchemaV1 } from "@standard-schema/spec";
import { type Issue, printable } from "../index.ts";
import { PoisonMessage } from "./errors.ts";
import type { SourceMessage } from "./types.ts";

/** A message as `to` gets it. */
export interface BridgedMessage<Body> {
  readonly body: Body;
  readonly id: string;
  readonly headers: ReadonlyMap<string, string>;
  /** Its effects may be there already: it was brought before, or this is not its first attempt. */
  readonly isRedelivered: boolean;
  /** 1, 2, ...: of this process. */
  readonly attempt: number;
  /** Aborts when the result is of no use any more: out of time, the connection lost, the bridge stopped. */
  readonly signal: AbortSignal;
}

/** Makes a body of what was in the queue; throws when it cannot. */
export type Decode<Body> = (bytes: Uint8Array, headers: ReadonlyMap<string, string>) => Body;

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** @throws PoisonMessage */
export async function bodyOf<Body>(
  { bytes, headers }: SourceMessage,
  decode: Decode<unknown> | undefined,
  schema: StandardSchemaV1<unknown, Body> | undefined,
  maxMessageBytes: number,
): Promise<Body> {
  if (bytes.byteLength > maxMessageBytes) {
    throw new PoisonMessage(
      `it has ${bytes.byteLength} bytes, more than maxMessageBytes (${maxMessageBytes})`,
    );
  }
  let body: unknown;
  try {
    body = decode === undefined ? JSON.parse(utf8.decode(bytes)) : decode(bytes, headers);
  } catch (error) {
    const what = decode === undefined ? "it is no JSON in UTF-8" : "decode refused it";
    throw new PoisonMessage(`${what}: ${printable(String((error as Error)?.message ?? error))}`, [], {
      cause: error,
    });
  }
  if (schema === undefined) return body as Body;
  const result = await schema["~standard"].validate(body);
  if (result.issues === undefined) return result.value;
  const issues = result.issues.map(issueOf);
  const list = issues.map(({ path, message }) => (path === "" ? message : `${path}: ${message}`));
  throw new PoisonMessage(`the schema refused it: ${printable(list.join("; "), 300)}`, issues);
}

function issueOf({ message, path = [] }: StandardSchemaV1.Issue): Issue {
  const keys = path.map((step) => String(typeof step === "object" ? step.key : step));
  return { path: keys.join("."), message };
}
