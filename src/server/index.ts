export type { Listening, Server, ServerOptions } from "./server.ts";
export { createServer } from "./server.ts";
