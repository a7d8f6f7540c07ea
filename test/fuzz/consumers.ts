/** The layer of consumers, without any carrier: events and messages straight to an application in memory. */
import * as sluice from "sluice";
import { TestClient } from "sluice/testing";
import { z } from "zod";
import type { Dice } from "./mutations.ts";
import { event } from "./packets.ts";
import { fuzzedRooms } from "./rooms.js";

const PER_CLIENT = 200;

export async function attackConsumers(
  dice: Dice,
  cases: number,
  violated: (violation: string) => void,
): Promise<number> {
  const { routes, groups } = fuzzedRooms(sluice, z, violated);
  const limits = { eventsPerSecond: 1_000_000, floodEvents: 1_000_000, newGroupsPerSecond: 1_000_000 };
  const app = sluice.createApplication({ routes: routes as never, groups, limits });
  app.signals.failed.connect(({ hook, error }) => violated(`failed: ${hook}: ${(error as Error).stack}`));
  await app.start();
  let sent = 0;
  while (sent < cases) {
    const { value } = { value: dice.value(2) };
    const auth =
      typeof value === "object" && value !== null && !Array.isArray(value) ? value : { logged: true };
    const path = dice.one([
      "/strict/7",
      "/strict/7",
      "/free/x",
      dice.scratch("/strict/7"),
      dice.scratch("/picky/a"),
    ]);
    const client = new TestClient(app, path, { auth: auth as Record<string, unknown>, timeoutMs: 10_000 });
    const entry = await client.connect();
    sent += 1;
    if (!entry.accepted) continue;
    for (let i = 0; i < PER_CLIENT; i += 1) {
      sent += 1;
      const [name, payload] = event(dice);
      const args = dice.chance(0.95) ? [payload] : [payload, dice.value(1)];
      try {
        client.socket.emit(name as string, ...args.filter((arg) => arg !== undefined));
      } catch (error) {
        // Too deep for this client to say; the ones on the network do.
        if (!(error instanceof sluice.Unencodable)) throw error;
      }
      if (dice.chance(0.1)) await message(app, client.channel, dice);
      if (dice.chance(0.05)) await client.quiet();
    }
    await client.quiet();
    if (client.socket.connected) await (dice.chance(0.5) ? client.drop() : client.disconnect());
  }
  await app.stop();
  const left = Object.entries(app.sizes).filter(([, size]) => size !== 0);
  if (left.length > 0) violated(`the application in memory still has ${JSON.stringify(left)}`);
  return sent;
}

/** From another consumer: what is no message is refused to its sender, what nobody handles is dropped. */
async function message(app: sluice.Application, channel: string, dice: Dice): Promise<void> {
  const type = dice.one<unknown>([
    "all.counted",
    "connect",
    "open",
    "constructor",
    "group.add",
    "send",
    dice.value(1),
  ]);
  const sending = async () => app.layer.send(channel, { type, by: 1 } as sluice.Message);
  await sending().catch((error) => {
    if (!(error instanceof sluice.SluiceError)) throw error;
  });
}
