import type { ChannelLayer } from "../index.ts";
import type { BridgedMessage } from "./message.ts";

/** A fixed text, or one that the message decides. */
type Chosen<Body> = string | ((message: BridgedMessage<Body>) => string);

/** How {@link toGroup} makes an event of a message. */
export interface ToGroupOptions<Body> {
  /** What the clients get; by default the body as it is. */
  readonly payload?: (message: BridgedMessage<Body>) => unknown;
}

/**
 * A `to` that emits each message to a group. It resolves when `groupEmit` does: in a group with history it is
 * appended then. There a message that is brought again is not sent again, if it has an id.
 *
 * @example
 * bridge({ source, to: toGroup(app.layer, ({ body }) => `order.${body.id}`, "order.changed") });
 */
export function toGroup<Body = unknown>(
  layer: Pick<ChannelLayer, "groupEmit">,
  group: Chosen<Body>,
  event: Chosen<Body>,
  { payload = ({ body }) => body }: ToGroupOptions<Body> = {},
): (message: BridgedMessage<Body>) => Promise<void> {
  return async (message) => {
    const of = (chosen: Chosen<Body>) => (typeof chosen === "string" ? chosen : chosen(message));
    const once = message.id === "" ? {} : { idempotencyKey: message.id };
    await layer.groupEmit(of(group), of(event), payload(message), once);
  };
}
