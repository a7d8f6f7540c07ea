// @ts-check
/**
 * What runs inside a thread: one job at a time. JavaScript, because a thread loads this file as it stands:
 * from sources, too, where Node 20 could not read TypeScript.
 *
 * All that is cloned goes through the job's own port, so that this file hears when something cannot be.
 */
import { inspect } from "node:util";
import { receiveMessageOnPort } from "node:worker_threads";

/**
 * @typedef {object} Job
 * @property {import("node:worker_threads").MessagePort} port arguments come from there, reports and the outcome go there
 * @property {Int32Array} shared see `Shared` in `thread-pool.ts`
 * @property {boolean} hears whether somebody wants reports
 */

/** Reports that may wait for the caller; more are dropped. The caller counts down what it has read. */
const MAX_WAITING_REPORTS = 1000;
const CAUSES = 5;

/** What `inside.ts` finds, whichever copy of the package the module has. */
const inside = {
  /** @type {((value: unknown) => boolean) | undefined} */
  report: undefined,
  /** @type {WeakMap<object, readonly import("node:worker_threads").Transferable[]>} */
  transfers: new WeakMap(),
};
Reflect.set(globalThis, Symbol.for("sluice.threads"), inside);

/** @param {Job} job */
export async function run({ port, shared, hears }) {
  Atomics.store(shared, 0, 1);
  inside.report = (value) => {
    if (!hears || Atomics.load(shared, 1) >= MAX_WAITING_REPORTS) return false;
    port.postMessage({ kind: "report", value });
    Atomics.add(shared, 1, 1);
    return true;
  };
  try {
    // Posted before the port itself was.
    const call = read(port);
    if (call === undefined) port.postMessage({ kind: "unreadable" });
    else port.postMessage(...(await outcomeOf(call)));
  } catch (error) {
    port.postMessage({ kind: "unencodable", reason: messageOf(error) });
  } finally {
    inside.report = undefined;
    port.close();
  }
}

/**
 * @typedef {{ module: string, name: string | undefined, args: unknown[] }} Call
 *
 * @param {import("node:worker_threads").MessagePort} port
 * @returns {Call | undefined} undefined when it cannot be put together again, as with a buffer that was gone
 */
function read(port) {
  try {
    return receiveMessageOnPort(port)?.message;
  } catch {
    return undefined;
  }
}

/**
 * @param {Call} call
 * @returns {Promise<[outcome: object, transfer: readonly import("node:worker_threads").Transferable[]]>}
 */
async function outcomeOf({ module, name, args }) {
  /** @type {Record<string, unknown>} */
  let exported;
  try {
    exported = await import(module);
  } catch (error) {
    return [{ kind: "unloadable", fault: faultOf(error) }, []];
  }
  const names = Object.keys(exported).filter((key) => typeof exported[key] === "function");
  if (name === undefined) return [{ kind: "value", value: names }, []];
  const verb = names.includes(name) ? exported[name] : undefined;
  if (typeof verb !== "function") return [{ kind: "missing", names }, []];
  try {
    const value = await verb(...args);
    const isObject = typeof value === "object" && value !== null;
    return [{ kind: "value", value }, (isObject && inside.transfers.get(value)) || []];
  } catch (error) {
    return [{ kind: "thrown", ...thrown(error) }, []];
  }
}

/** @param {unknown} error */
function thrown(error) {
  if (error instanceof Error) return { fault: faultOf(error) };
  try {
    return { value: structuredClone(error) };
  } catch {
    return { value: inspect(error) };
  }
}

/**
 * An error as data: cloning by itself would forget the class and the code.
 *
 * @param {unknown} error
 * @returns {object}
 */
function faultOf(error, depth = 0) {
  if (!(error instanceof Error)) return { name: "Error", message: inspect(error), stack: undefined };
  const { message, stack, cause } = error;
  const code = Reflect.get(error, "code");
  return {
    name: error.name === "Error" ? error.constructor.name : error.name,
    message: String(message),
    stack: stack === undefined ? undefined : String(stack),
    ...(typeof code === "string" || typeof code === "number" ? { code } : {}),
    ...(cause === undefined || depth >= CAUSES ? {} : { cause: faultOf(cause, depth + 1) }),
  };
}

/** @param {unknown} error */
function messageOf(error) {
  return error instanceof Error ? error.message : inspect(error);
}
