/** What names NestJS is beside its packages, where they are found. */
import type { Payload } from "../messages.ts";
import { peerFile } from "../peer-packages.ts";

interface Gateway {
  start(): Promise<{ readonly port: number }>;
  publish(room: number, payload: Payload): void;
}

type CreateGateway = (words: {
  readonly namespace: string;
  readonly event: string;
  check(payload: unknown): unknown;
}) => Gateway;

export async function loadGateway(): Promise<CreateGateway> {
  const { createGateway } = (await import(peerFile("nest-gateway.js"))) as {
    readonly createGateway: CreateGateway;
  };
  return createGateway;
}
