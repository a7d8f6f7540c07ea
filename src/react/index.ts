"use client";
export { createSocketHooks, type SocketHooks, type SocketProviderProps } from "./socket-hooks.ts";
export type { Connection, Here } from "./types.ts";
