/** A NestJS gateway; what names NestJS is beside its packages, where they are found. */
import type { Payload } from "../messages.ts";
import { EVENT } from "../messages.ts";
import { peerFile } from "../peer-packages.ts";
import { NAMESPACE } from "../wires.ts";
import { contend } from "./contender.ts";
import { Say } from "./say.ts";

interface Gateway {
  start(): Promise<{ readonly port: number }>;
  publish(room: number, payload: Payload): void;
}

const { createGateway } = (await import(peerFile("nest-gateway.js"))) as {
  createGateway(words: {
    readonly namespace: string;
    readonly event: string;
    check(payload: unknown): unknown;
  }): Gateway;
};

contend(createGateway({ namespace: NAMESPACE, event: EVENT, check: (payload) => Say.parse(payload) }));
