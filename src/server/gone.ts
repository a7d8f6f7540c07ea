import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";

/** Of each connection, what is to be run at its end. */
const endings = new WeakMap<Socket, Set<() => void>>();

/**
 * Runs it once, when the answer has been given or its client has gone. An answer that waits behind another one
 * on its connection has no connection yet, as Node sees it, and never hears that it closes.
 */
export function onGone(response: ServerResponse, run: () => void): void {
  const { socket } = response.req;
  if (socket.destroyed) return queueMicrotask(run);
  const atEnd = endings.get(socket) ?? watched(socket);
  const gone = () => {
    response.off("close", gone);
    if (atEnd.delete(gone)) run();
  };
  atEnd.add(gone);
  response.once("close", gone);
}

/** Whether nobody would hear the answer. */
export function isGone(response: ServerResponse): boolean {
  return response.destroyed || response.req.socket.destroyed;
}

/** One listener, however many answers wait. */
function watched(socket: Socket): Set<() => void> {
  const atEnd = new Set<() => void>();
  endings.set(socket, atEnd);
  socket.once("close", () => {
    for (const gone of [...atEnd]) gone();
  });
  return atEnd;
}
