import { createApplication } from "../application.ts";
import type { ChannelLayer } from "../layer/channel-layer.ts";
import { applicationDefaults } from "../options.ts";
import type { Message } from "../types.ts";
import { sharedBackplane } from "./backplane.ts";
import { UsageError } from "./complaint.ts";
import type { Environment } from "./environment.ts";
import { withProgress } from "./progress.ts";

/** More than any layer takes unless it was told to. */
const MAX_INPUT_BYTES = 16 * applicationDefaults.limits.maxMessageBytes;

/**
 * `sluice send`: runs the handler of the message's type on every consumer in a group, on every node.
 * Resolves when Redis has the message.
 *
 * @throws UsageError, ConfigurationError, InvalidMessage, InvalidName, LayerUnavailable
 */
export async function send(group: string, json: string, environment: Environment): Promise<void> {
  const message = await readJson(json, "the message");
  await withLayer("send", environment, (layer) => layer.groupSend(group, message as Message));
}

/** `sluice emit`: sends an event to the clients of a group's members, on every node. Otherwise as `send`. */
export async function emit(
  group: string,
  event: string,
  json: string | undefined,
  environment: Environment,
): Promise<void> {
  const payload = json === undefined ? undefined : await readJson(json, "the payload");
  await withLayer("emit", environment, (layer) => layer.groupEmit(group, event, payload));
}

/** A node that serves nobody, for as long as it takes to say something. */
async function withLayer(
  command: string,
  environment: Environment,
  say: (layer: ChannelLayer) => Promise<void>,
): Promise<void> {
  const backplane = await sharedBackplane(environment, command);
  const encryptionKeys = environment.SLUICE_ENCRYPTION_KEYS ?? [];
  const app = createApplication({ routes: [], backplane, encryptionKeys });
  await withProgress("connecting to Redis", async ({ now }) => {
    try {
      await app.start();
      now("handing it to Redis");
      await say(app.layer);
      await app.layer.flush();
    } finally {
      await app.stop();
    }
  });
}

/** @param json - JSON, or `-` for standard input */
async function readJson(json: string, what: string): Promise<unknown> {
  const text = json === "-" ? await standardInput() : json;
  try {
    return JSON.parse(text);
  } catch (error) {
    const where = json === "-" ? "standard input" : what;
    const shells = json === "-" ? "" : "; in a shell it stands in single quotes";
    throw new UsageError(`${where} is not JSON: ${(error as Error).message}${shells}`);
  }
}

async function standardInput(): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_INPUT_BYTES)
      throw new UsageError(`standard input has more than ${MAX_INPUT_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
