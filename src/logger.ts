import { type DestinationStream, type Logger, type LoggerOptions, pino } from "pino";
import { ConfigurationError, thrownText } from "./errors.ts";
import type { ConnectionFact, Facts, UnopenedFact } from "./facts.ts";
import { printable, printableLines } from "./names.ts";

export type { Logger };

/** Lines per second of what clients can cause at will; the rest is counted and told once a second. */
const MAX_LINES_PER_SECOND = 50;

/**
 * A pino logger: JSON lines, or readable ones on a terminal.
 *
 * @param level - `trace`, `debug`, `info`, `warn`, `error`, `fatal` or `silent`
 * @param destination - takes the JSON lines instead of standard output
 * @throws ConfigurationError for any other
 */
export function createLogger(level = "info", destination?: DestinationStream): Logger {
  checkLevel(level);
  const options: LoggerOptions = { level, base: undefined as never, serializers: { err: loggable } };
  if (destination !== undefined) return pino(options, destination);
  const isPretty = process.stdout.isTTY;
  return isPretty
    ? pino({ ...options, transport: { target: "pino-pretty", options: { ignore: "pid,hostname" } } })
    : // By default pino cannot say when all is written.
      pino(options, pino.destination({ minLength: 1 }));
}

/**
 * Resolves when all that was logged is written. A program that exits before may have its lines in another order,
 * as what is being written then comes last.
 */
export function flushed(logger: Logger): Promise<void> {
  // What cannot be written is no reason to go on.
  return new Promise((resolve) => logger.flush(() => resolve()));
}

function checkLevel(level: string): void {
  if (level === "silent" || Object.hasOwn(pino.levels.values, level)) return;
  const known = [...Object.keys(pino.levels.values), "silent"].join(", ");
  throw new ConfigurationError([`"${printable(String(level))}" is no level of a log; there are ${known}`]);
}

/** What {@link logSignals} writes. */
export interface LogOptions {
  /** Levels of single routes, by their patterns; all else is on the logger's own. */
  readonly levels?: Readonly<Record<string, string>>;
  /** What lines about events, messages and failures have beside it, such as `tracing().ids`: the trace they are in. */
  readonly ids?: (() => object | undefined) | undefined;
}

/**
 * Writes an application's facts to a log: the core announces, this file alone says it in words. Each
 * connection that was let in is one line on the level `info`, when it has ended; what else happened to it are
 * lines with the same `channel`. `request` names the HTTP request underneath.
 *
 * What comes from outside is cut, its control characters are escaped, and headers, auth and payloads never
 * get into a line; of errors it has name, message, code, stack and cause, not what others have hung on them.
 *
 * @returns a function that ends it
 * @throws ConfigurationError for a level that there is not
 */
export function logSignals(
  signals: Facts,
  logger: Logger,
  { levels = {}, ids }: LogOptions = {},
): () => void {
  const limit = lineLimit(logger);
  const loggers = new Map(
    Object.entries(levels).map(([route, level]) => {
      checkLevel(level);
      return [route, logger.child({}, { level })] as const;
    }),
  );
  const of = ({ route }: Partial<ConnectionFact>) =>
    route === undefined ? logger : (loggers.get(route) ?? logger);
  const writes = (level: string) => [logger, ...loggers.values()].some((one) => one.isLevelEnabled(level));
  const connected = (fact: ConnectionFact & { readonly tookMs: number }) => {
    of(fact).debug({ ...who(fact), tookMs: Math.round(fact.tookMs) }, "connected");
  };
  const trace = (fact: ConnectionFact & { readonly event: string }) => {
    of(fact).trace({ ...who(fact), ...ids?.(), event: printable(fact.event) }, "received");
  };
  const ends = [
    signals.started.connect(({ node }) => logger.info({ node }, "started")),
    signals.draining.connect((fact) => logger.info(fact, "draining")),
    signals.stopped.connect(({ node }) => logger.info({ node }, "stopped")),
    signals.disconnected.connect((fact) => {
      const { reason, wasOpen, lastedMs } = fact;
      const why = { reason: reason.kind, code: reason.code, detail: printable(reason.message) };
      if (wasOpen) of(fact).info({ ...who(fact), ...why, lastedMs: Math.round(lastedMs) }, "disconnected");
    }),
    signals.denied.connect((fact) => {
      const { remoteAddress, code, reason } = fact;
      const namespace = printable(fact.namespace);
      const line = { ...who(fact), ...ids?.(), namespace, remoteAddress, code, reason: printable(reason) };
      // An unknown namespace is nobody's fault here.
      if (code === 4404) logger.debug(line, "denied");
      else limit(() => of(fact).info(line, "denied"));
    }),
    // Heard only where they are wanted: building these facts costs every connection and event a little.
    ...(writes("debug") ? [signals.connected.connect(connected)] : []),
    ...(writes("trace") ? [signals.received.connect(trace)] : []),
    signals.refused.connect((fact) => {
      const line = { ...who(fact), ...ids?.(), event: printable(fact.event), code: fact.code };
      of(fact).debug(line, "event refused");
    }),
    signals.limited.connect(({ limit: name, namespace, remoteAddress }) => {
      const where = namespace === undefined ? {} : { namespace: printable(namespace) };
      logger.debug({ limit: name, ...where, remoteAddress }, "limited");
    }),
    signals.failed.connect(({ hook, error, ...fact }) => {
      limit(() => of(fact).error({ ...who(fact), ...ids?.(), hook, err: loggable(error) }, `${hook} failed`));
    }),
    signals.recovered.connect(({ channel, group, messages }) => {
      logger.debug({ channel, group: printable(group), messages }, "recovered");
    }),
    signals.gap.connect(({ channel, group, reason }) => {
      limit(() => logger.info({ channel, group: printable(group), reason }, "told of a gap"));
    }),
    signals.dropped.connect(({ cause, target, what, count = 1 }) => {
      const line = { ...ids?.(), cause, target: printable(target), what: printable(what), count };
      limit(() => logger.warn(line, "dropped"));
    }),
    signals.lost.connect(({ group, missed }) => {
      limit(() => logger.warn({ group: group && printable(group), missed }, "messages may be lost"));
    }),
    signals.audited.connect(({ action, target, by, remoteAddress, outcome, reason }) => {
      const line = { action, target: printable(target), by: printable(by), remoteAddress, outcome };
      const why = reason === undefined ? {} : { reason: printable(reason) };
      // Refused is what anybody can cause at will; what was done is never left out.
      if (outcome === "refused") limit(() => logger.warn({ ...line, ...why }, "audit"));
      else logger.info({ ...line, ...why }, "audit");
    }),
    signals.answered.connect(({ requestId, path, tookMs, ...fact }) => {
      const line = { request: requestId, ...fact, path: printable(path), tookMs: Math.round(tookMs) };
      logger.debug(line, "answered");
    }),
    signals.unopened.connect(({ carrier, target, reason }) => {
      limit(() => logger.error({ carrier, target: printable(target), reason }, UNOPENED[reason]));
    }),
    signals.layerDown.connect((fact) => logger.error(fact, "other nodes cannot be reached")),
    signals.layerUp.connect(({ layer, downMs }) => {
      logger.info({ layer, downMs: Math.round(downMs) }, "other nodes can be reached again");
    }),
    signals.receiverFailed.connect(({ signal, error }) => {
      limit(() => logger.error({ signal, err: loggable(error) }, "a receiver of a signal failed"));
    }),
  ];
  return () => {
    for (const end of ends) end();
  };
}

const MAX_CAUSES = 5;
/** Characters: what errors quote may be as long as whatever a client has sent. */
const MAX_MESSAGE = 10_000;
const MAX_STACK = 2 * MAX_MESSAGE;
/** What `loggable` has made: a logger's serializer is given it once more. */
const made = new WeakSet<object>();

/** Of an error what tells where it comes from; libraries hang requests with their headers on theirs. */
export function loggable(error: unknown, depth = 0): unknown {
  if (typeof error === "object" && error !== null && made.has(error)) return error;
  if (!(error instanceof Error)) return printable(thrownText(error));
  const { name, message, stack, cause } = error as { [Key in keyof Error]: unknown };
  const { code } = error as { readonly code?: unknown };
  const shown = {
    type: printable(thrownText(name)),
    message: printableLines(cut(thrownText(message), MAX_MESSAGE)),
    ...(typeof code === "string" ? { code: printable(code) } : typeof code === "number" ? { code } : {}),
    ...(typeof stack === "string" ? { stack: printableLines(stackOf(stack, message)) } : {}),
    ...(cause === undefined || depth >= MAX_CAUSES ? {} : { cause: loggable(cause, depth + 1) }),
  };
  made.add(shown);
  return shown;
}

/** It begins with the message; cut there, so that it still says where it comes from. */
function stackOf(stack: string, message: unknown): string {
  const isLong = typeof message === "string" && message.length > MAX_MESSAGE;
  return cut(isLong ? stack.replace(message, () => cut(message, MAX_MESSAGE)) : stack, MAX_STACK);
}

function cut(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most)}…` : text;
}

/** With what to do. */
const UNOPENED: Readonly<Record<UnopenedFact["reason"], string>> = {
  "no-keys":
    "left out: it is encrypted, and this process has no encryptionKeys; give all the same (SLUICE_ENCRYPTION_KEYS)",
  "unknown-key":
    "left out: it was encrypted by a key that this process does not have; give all the same encryptionKeys",
  altered: "left out: it was changed on its way, cut off, or written where it does not belong",
  "not-encrypted":
    "left out: it is not encrypted; some process has no encryptionKeys (see the guide to begin without loss), or a stranger wrote it",
};

function who({ channel, route, scope }: Partial<ConnectionFact>): object {
  const request = scope?.requestId;
  return { channel, route, namespace: scope && printable(scope.namespace), request };
}

/** So that nobody fills the disk by being refused. */
function lineLimit(logger: Logger): (write: () => void) => void {
  let second = 0;
  let lines = 0;
  return (write) => {
    const now = Math.floor(performance.now() / 1000);
    if (now !== second) {
      if (lines > MAX_LINES_PER_SECOND) {
        logger.warn({ lines: lines - MAX_LINES_PER_SECOND }, "lines left out of the log");
      }
      [second, lines] = [now, 0];
    }
    lines += 1;
    if (lines <= MAX_LINES_PER_SECOND) write();
  };
}
