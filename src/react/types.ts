/** How a connection stands. The object is another one when, and only when, something in it is. */
export interface Connection {
  /**
   * - `connecting`: it has not been open yet, or nothing is known (on the server, before the socket is there).
   * - `connected`
   * - `reconnecting`: it was open, and comes back by itself.
   * - `closed`: it stays away until somebody calls `socket.connect()`.
   */
  readonly state: "connecting" | "connected" | "reconnecting" | "closed";
  /** With which the server closed or refused it last, until it is open again. */
  readonly code?: number;
  /** Beside the code. */
  readonly reason?: string;
}

/** Who is in a group. The object is another one when somebody came, went or changed. */
export interface Here<Info = unknown> {
  /** By user. */
  readonly users: ReadonlyMap<string, Info>;
  /** Whether the server has told the list in this connection; else `users` is what was true last. */
  readonly isCurrent: boolean;
}
