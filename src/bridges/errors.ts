import { type Issue, SluiceError } from "../index.ts";

/** A message that is not what it must be, now and for ever: no JSON, too large, or refused by the schema. */
export class PoisonMessage extends SluiceError {
  readonly code = "poison_message";
  /** What the schema found. */
  readonly issues: readonly Issue[];

  constructor(message: string, issues: readonly Issue[] = [], options?: ErrorOptions) {
    super(message);
    if (options !== undefined) this.cause = options.cause;
    this.issues = issues;
  }
}

/** Thrown by `to`: this message is not to be tried again. */
export class RejectMessage extends SluiceError {
  readonly code = "reject_message";
}

/** `to` took longer than `timeoutMs`. */
export class BridgeTimeout extends SluiceError {
  readonly code = "bridge_timeout";
}
