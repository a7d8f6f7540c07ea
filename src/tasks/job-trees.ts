/** What both brokers ask of jobs before they take them. */
import { type ChildOutcome, type NewJob, thrownText } from "../index.ts";

/** How many children one job may have. */
const MAX_CHILDREN = 1_000;

const WORD = "[A-Za-z0-9_-]+";
const QUEUE = new RegExp(`^${WORD}(\\.${WORD})*$`);
const ID = new RegExp(`^(${WORD}(?:\\.${WORD})*)\\.${WORD}$`);
const MAX_QUEUE_LENGTH = 100;
const MAX_ID_LENGTH = 240;

/** The queue in a job's id; undefined: no job has such an id. */
export function queueOf(id: string): string | undefined {
  return id.length <= MAX_ID_LENGTH ? ID.exec(id)?.[1] : undefined;
}

/** @throws RangeError for what cannot be the name of one */
export function checkQueue(queue: string): void {
  if (queue.length > MAX_QUEUE_LENGTH || !QUEUE.test(queue)) {
    throw new RangeError(
      `a queue is named by letters, digits and any of - _ . (such as "mail.bulk"), not "${queue}"`,
    );
  }
}

/** A job of a tree, and the place of its parent in the list. */
export interface TreeNode {
  readonly job: NewJob;
  readonly parent: number | undefined;
}

/**
 * A job and its children and theirs, each after its parent.
 *
 * @throws RangeError for what the contract does not allow
 */
export function flattened(root: NewJob): readonly TreeNode[] {
  const nodes: TreeNode[] = [];
  const ids = new Set<string>();
  const add = (job: NewJob, parent: number | undefined) => {
    const { id, queue, key, children = [] } = job;
    checkQueue(queue);
    if (queueOf(id) !== queue) {
      throw new RangeError(`the id of a job must be "<queue>.<text>"; "${id}" is none of queue "${queue}"`);
    }
    if (ids.has(id)) throw new RangeError(`two jobs of a tree have the id "${id}"`);
    if (children.length > MAX_CHILDREN) {
      throw new RangeError(
        `a job may have ${MAX_CHILDREN} children, not ${children.length}; make groups of groups`,
      );
    }
    if (key !== undefined && (children.length > 0 || parent !== undefined)) {
      throw new RangeError(`job "${id}" has a key; neither a job with children nor a child may have one`);
    }
    ids.add(id);
    const place = nodes.length;
    nodes.push({ job, parent });
    for (const child of children) add(child, place);
  };
  add(root, undefined);
  return nodes;
}

/** For `addAll`. */
export function alone(job: NewJob): NewJob {
  if (job.key === undefined && (job.children === undefined || job.children.length === 0)) return job;
  throw new RangeError(
    "jobs that are added together may have neither children nor a key; add them by themselves",
  );
}

/** Errors that the broker itself gives a job, in the form in which those of tasks are kept. */
export const brokerErrors = {
  /** Its outcome went with it. */
  removed: JSON.stringify({ code: "removed", message: "the job was removed before it ended" }),
  /** @param deaths - how often */
  workerDied: (deaths: number) =>
    JSON.stringify({
      code: "worker_died",
      message: `its worker died ${deaths} times, or was too busy to say that it lives; it is not run again`,
    }),
  /** A handler must not throw, but did. */
  handlerThrew: (error: unknown) => JSON.stringify({ code: "internal", message: thrownText(error) }),
  childFailed: (child: string, error: string) =>
    JSON.stringify({
      code: "child_failed",
      message: `job ${child}, on which it depends, failed`,
      child,
      cause: parsed(error),
    }),
  /** Whether it is one of these, by its looks. */
  isOwn: (error: string) => OWN_CODES.has(codeOf(parsed(error))),
};

const OWN_CODES = new Set<unknown>(["removed", "worker_died", "internal", "child_failed"]);

function codeOf(value: unknown): unknown {
  return (value as { readonly code?: unknown } | null)?.code;
}

/** The child and its error in what `brokerErrors.childFailed` made; undefined for what is something else. */
export function childFailed(error: string): { readonly child: string; readonly cause: string } | undefined {
  const fault = parsed(error);
  if (codeOf(fault) !== "child_failed") return undefined;
  const { child, cause } = fault as { readonly child?: unknown; readonly cause?: unknown };
  if (typeof child !== "string") return undefined;
  return { child, cause: typeof cause === "string" ? cause : JSON.stringify(cause ?? null) };
}

/** The failure of a job whose children ended so, if it is one. */
export function childFailure(outcomes: readonly ChildOutcome[]): string | undefined {
  for (const outcome of outcomes) {
    if ("error" in outcome) return brokerErrors.childFailed(outcome.id, outcome.error);
  }
  return undefined;
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return json;
  }
}
