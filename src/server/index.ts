export type { HandshakeHeaders } from "./arrivals.ts";
export { closedOf } from "./http.ts";
export type { Listening } from "./listening.ts";
export type { Server, ServerOptions } from "./server.ts";
export { createServer } from "./server.ts";
