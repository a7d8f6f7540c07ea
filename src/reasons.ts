/** Why connections end, for the ends that several rooms bring about. */
import { CloseCode } from "./errors.ts";
import type { DisconnectReason } from "./types.ts";

export const CLIENT_LEFT: DisconnectReason = { kind: "client", code: 4000, message: "the client left" };

export const STOPPING: DisconnectReason = {
  kind: "stopping",
  code: CloseCode.unavailable,
  message: "the server is stopping",
};

export const TOO_SLOW: DisconnectReason = {
  kind: "limit",
  code: CloseCode.tooSlow,
  message: "too slow: more waits for this client than may wait",
};

export const FLOOD: DisconnectReason = { kind: "limit", code: CloseCode.flood, message: "too many events" };

export const AGED: DisconnectReason = {
  kind: "limit",
  code: CloseCode.unavailable,
  message: "the connection has reached its maximum age; come back",
};

export function connectionLost(message: string): DisconnectReason {
  return { kind: "transport", code: 4001, message };
}
