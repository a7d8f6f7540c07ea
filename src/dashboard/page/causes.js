// Why something went wrong, as people say it. The word that programs have for it is shown beside.

const CODES = {
  4400: "the request makes no sense",
  4401: "not logged in",
  4403: "not allowed",
  4404: "no such route",
  4413: "too large",
  4429: "too many events",
  4500: "an error in the application",
  4503: "not available now",
  4508: "connecting took too long",
  4510: "the login has ended",
  4513: "too slow to read",
  4529: "too many connections",
};

const KINDS = {
  denied: ["Connection refused", (code) => CODES[code] ?? rangeOf(Number(code))],
  refused: [
    "Event refused",
    {
      channel_full: "too much waits already",
      connection_denied: "not allowed",
      connection_closed: "the connection had ended",
      invalid_message: "the payload is not what was asked for",
      invalid_name: "a name that cannot be",
      join_refused: "the group may not be joined",
      layer_unavailable: "the other nodes cannot be reached",
      message_too_large: "too large",
      no_handler: "nobody handles such an event",
      rate_limited: "too many at once",
      internal_error: "an error in the application",
    },
  ],
  limited: [
    "Limit met",
    {
      connectionsPerAddress: "connections of one address",
      connectionsPerUser: "connections of one user",
      eventsPerSecond: "events of one client",
      eventsPerSecondPerAddress: "events of one address",
      eventsPerSecondPerUser: "events of one user",
      floodEvents: "a flood of events",
      groupsPerConnection: "groups of one connection",
      handshakesPerSecond: "new connections of this node",
      handshakesPerSecondPerAddress: "new connections of one address",
      maxPayloadBytes: "size of what a client sends",
      maxWaitingBytes: "what waits for a slow client",
      namespacesPerConnection: "routes open on one connection",
      newGroupsPerSecond: "new groups of one address",
      pendingEvents: "events that wait of one client",
      replayedPerSecond: "histories read by one address",
    },
  ],
  failed: [
    "Error thrown",
    {
      middleware: "by middleware",
      connect: "while a client connected",
      constructor: "while a consumer was made",
      receive: "while an event was handled",
      message: "while a message was handled",
      disconnect: "while a client left",
      http: "by a route of HTTP",
      layer: "between nodes",
    },
  ],
  dropped: [
    "Dropped",
    {
      "mailbox-full": "the consumer's mailbox was full",
      "no-handler": "nobody handles such a message",
      "no-channel": "the receiver is gone",
      ended: "the connection ended before",
      "bad-envelope": "what another node sent cannot be read",
      backplane: "the other nodes could not be reached for too long",
    },
  ],
  unopened: [
    "Not decrypted",
    {
      backplane: "a message of another node",
      history: "a message of a history",
      presence: "who is in a group",
      tasks: "a task",
    },
  ],
  gap: [
    "Client told of a gap",
    {
      trimmed: "the history does not go back so far",
      epoch: "the history began anew",
      id: "the history is another one after a failover",
      ahead: "the client is ahead of the history",
      receipt: "what the client showed is not genuine",
      too_many: "too much was missed",
      too_old: "it was away for too long",
    },
  ],
  lost: ["Messages of other nodes lost", {}],
};

/** `denied 4401` as `{ words: "Connection refused: not logged in", code: "4401" }`. */
export function inWords(cause) {
  const [kind, ...rest] = cause.split(" ");
  const code = rest.join(" ");
  if (!Object.hasOwn(KINDS, kind)) return { words: cause, code: "" };
  const [what, why] = KINDS[kind];
  const words = typeof why === "function" ? why(code) : Object.hasOwn(why, code) ? why[code] : "";
  return { words: words ? `${what}: ${words}` : what, code };
}

/** Codes of the application's own. */
function rangeOf(code) {
  if (code >= 4400 && code < 4500) return "for a reason of the application";
  return code >= 4500 && code < 4600 ? "for now, for a reason of the application" : "";
}
