/**
 * What spans are called and what they say: the semantic conventions for messaging, 1.45.0
 * (https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), still in development there. What they have
 * no name for begins with `sluice.`. Payloads are in none of it.
 */
import type { Attributes } from "@opentelemetry/api";
import { type Delivering, type Handling, isForClient, type Sending, SluiceError } from "../index.ts";

/** What is said only if somebody asks for it. */
export interface Shown {
  readonly groups: boolean;
  readonly users: boolean;
}

type OperationType = "send" | "process";

/** A span's name is operation and destination, where there are not too many of these. */
export interface Description {
  readonly name: string;
  readonly attributes: Attributes;
}

function described(
  type: OperationType,
  operation: string,
  destination: string,
  more: Attributes,
): Description {
  return {
    name: destination === "" ? operation : `${operation} ${destination}`,
    attributes: {
      "messaging.system.name": "sluice",
      // Its name before 1.45, which is what most backends look for.
      "messaging.system": "sluice",
      "messaging.operation.name": operation,
      "messaging.operation.type": type,
      ...more,
    },
  };
}

export function ofSending({ verb, what, group, members }: Sending, shown: Shown): Description {
  if (verb === "enqueue" || verb === "progress") {
    return described("send", verb, what, { "messaging.destination.name": what });
  }
  return described("send", verb, "", {
    [verb === "groupEmit" ? "sluice.event" : "sluice.message.type"]: what,
    ...groupOf(group, shown),
    ...(group === undefined || members === undefined ? {} : { "sluice.members": members }),
  });
}

export function ofDelivering({ kind, what, group, members }: Delivering, shown: Shown): Description {
  return described("process", "deliver", "", {
    "sluice.kind": kind,
    ...(what === "" ? {} : { "sluice.event": what }),
    ...groupOf(group, shown),
    "sluice.members": members,
  });
}

export function ofHandling(handling: Handling, shown: Shown): Description {
  if (handling.hook === "task") {
    const { what, id, queue, attempt } = handling;
    return described("process", "run", what, {
      "messaging.destination.name": what,
      "messaging.message.id": id,
      "sluice.task.queue": queue,
      "sluice.task.attempt": attempt,
    });
  }
  if (handling.hook === "bridge") {
    const { what, id, attempt } = handling;
    return described("process", "bridge", what, {
      "messaging.destination.name": what,
      ...(id === "" ? {} : { "messaging.message.id": id }),
      "sluice.bridge.attempt": attempt,
    });
  }
  const { hook, route, channel, user, what } = handling;
  const who: Attributes = {
    "sluice.route": route,
    "sluice.channel": channel,
    ...(shown.users && user !== undefined ? { "user.id": user } : {}),
  };
  if (hook === "connect" || hook === "disconnect") return { name: `${hook} ${route}`, attributes: who };
  return described("process", hook, route, {
    "messaging.destination.template": route,
    ...who,
    [hook === "event" ? "sluice.event" : "sluice.message.type"]: what,
  });
}

/** Low cardinality, as `error.type` is to be. */
export function errorType(error: unknown): string {
  if (isForClient(error) || error instanceof SluiceError) return error.code;
  return error instanceof Error ? error.name : "_OTHER";
}

function groupOf(group: string | undefined, { groups }: Shown): Attributes {
  return groups && group !== undefined ? { "messaging.destination.name": group } : {};
}
