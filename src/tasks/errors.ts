import { ClientError, CloseCode, SluiceError, thrownText } from "../index.ts";

/** A run ended for good without a result; thrown to whoever waits for it. */
export class TaskFailed extends ClientError {
  /** Of what the run threw: `task_failed`, `time_limit`, `cancelled`, `expired`, `worker_died`, or its own. */
  readonly code: string;
  /** Which run. */
  readonly id: string;

  constructor(id: string, { code, message }: TaskFault) {
    super(message);
    this.id = id;
    this.code = code;
  }
}

/** What is kept of an error, as JSON. */
export interface TaskFault {
  readonly code: string;
  /** The error's class. */
  readonly name: string;
  readonly message: string;
  /** For logs and dashboards; never for clients. */
  readonly stack?: string;
}

/** The outcome was not there in time; the task goes on. */
export class TaskTimeout extends ClientError {
  readonly code = "task_timeout";
  override readonly closeCode = CloseCode.unavailable;
}

/** A ticket that is not ours, of another user or run, or whose time is over. */
export class TicketRefused extends ClientError {
  readonly code = "ticket_refused";
  override readonly closeCode = CloseCode.forbidden;
}

/** No such run: it never was, or is forgotten. */
export class UnknownTask extends ClientError {
  readonly code = "unknown_task";
  override readonly closeCode = CloseCode.notFound;

  constructor(id: string) {
    super(`there is no run ${id}: it never was, or is forgotten`);
  }
}

/** Thrown in a task: it has failed, and another attempt would as well. */
export class DoNotRetry extends SluiceError {
  readonly code: string;

  constructor(message: string, options: ErrorOptions & { readonly code?: string } = {}) {
    super(message, options);
    this.code = options.code ?? "task_failed";
  }
}

/** What `run.retry()` throws: another attempt, please. */
export class RetryLater extends SluiceError {
  readonly code = "retry";
  readonly afterMs: number | undefined;

  constructor(afterMs: number | undefined, because: string) {
    super(because);
    this.afterMs = afterMs;
  }
}

/** The reason of a run's signal when its time is over. */
export class TimeLimitReached extends SluiceError {
  readonly code = "time_limit";
}

/** The reason of a run's signal when somebody cancelled it. */
export class Cancelled extends SluiceError {
  readonly code = "cancelled";
}

/** The reason of a run's signal when its worker ends, or has lost it: it runs again. */
export class HandedBack extends SluiceError {
  readonly code = "handed_back";
}

const MAX_STACK = 4_000;
const MAX_MESSAGE = 1_000;
/** An error may be its own. */
const MAX_CAUSES = 4;

/** An error as it is kept. Never throws: a run whose end cannot be told has none. */
export function faultOf(error: unknown): TaskFault {
  try {
    if (error instanceof Error) return faultOfError(error);
  } catch {
    // It is none that can be read.
  }
  const message = `thrown: ${thrownText(error)}`.slice(0, MAX_MESSAGE);
  return { code: "task_failed", name: "Error", message };
}

function faultOfError(error: Error): TaskFault {
  const { code } = error as { readonly code?: unknown };
  return {
    code: typeof code === "string" && /^[\w.-]{1,99}$/.test(code) ? code : "task_failed",
    name: error.name.slice(0, 99),
    message: error.message.slice(0, MAX_MESSAGE),
    ...(error.stack === undefined ? {} : { stack: stackOf(error).slice(0, MAX_STACK) }),
  };
}

/** With those of its causes. */
function stackOf(error: Error): string {
  const stacks: string[] = [];
  for (let at: unknown = error; at instanceof Error && stacks.length < MAX_CAUSES; at = at.cause) {
    stacks.push(at.stack ?? `${at.name}: ${at.message}`);
  }
  return stacks.join("\nCaused by: ");
}

/** What another process kept, whatever it is. */
export function readFault(json: string | undefined): TaskFault {
  try {
    const fault: unknown = JSON.parse(json ?? "");
    const { code, name, message, stack } = fault as Record<string, unknown>;
    if (typeof code === "string" && typeof message === "string") {
      return {
        code,
        name: typeof name === "string" ? name : "Error",
        message,
        ...(typeof stack === "string" ? { stack } : {}),
      };
    }
  } catch {
    // Said below.
  }
  return { code: "task_failed", name: "Error", message: "the task failed; why was not kept" };
}
