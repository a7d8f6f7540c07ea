import type { Handshake, ScopeConnection } from "sluice";
import { ConnectionScope, ScopeSource } from "../src/scope.ts";

/** The scope of a connection that nothing is behind. */
export function someScope(): ConnectionScope {
  const handshake: Handshake = {
    ...{ protocol: "test", namespace: "/x", path: "/", auth: {}, remoteAddress: "" },
    ...{ query: new URLSearchParams(), headers: {} },
  };
  return new ConnectionScope(new ScopeSource(handshake, {}, {}, { face: {} as ScopeConnection }));
}
