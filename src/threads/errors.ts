import { ClientError, CloseCode, SluiceError } from "../index.ts";

/** All threads run something and as much as may wait does. Worth another try, later. */
export class ThreadsBusy extends ClientError {
  readonly code = "threads_busy";
  override readonly closeCode = CloseCode.tooMany;
}

/** The threads were closed before the function had ended. */
export class ThreadsClosed extends ClientError {
  readonly code = "threads_closed";
  override readonly closeCode = CloseCode.unavailable;
}

/** A function took longer than its `timeLimitMs`; its thread was ended. */
export class ThreadTimeLimit extends SluiceError {
  readonly code = "thread_time_limit";
}

/** The thread of a function ended under it: `process.exit`, an uncaught exception, no memory left. */
export class ThreadCrashed extends SluiceError {
  readonly code = "thread_crashed";
}

/** An error as it travels out of a thread. */
export interface Fault {
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
  readonly code?: string | number;
  readonly cause?: Fault;
}

/**
 * What a function threw in its thread: `name` is the name of the error's class there, and `message`, `stack`,
 * `code` and `cause` are its own. Not an instance of that class, which this side may not even have.
 */
export class ErrorInThread extends Error {
  declare readonly code?: string | number;

  constructor({ name, message, stack, code, cause }: Fault) {
    super(message, cause === undefined ? undefined : { cause: new ErrorInThread(cause) });
    const own = { name, stack: stack ?? `${name}: ${message}`, ...(code === undefined ? {} : { code }) };
    for (const [key, value] of Object.entries(own)) {
      Object.defineProperty(this, key, { value, configurable: true, writable: true });
    }
  }
}
