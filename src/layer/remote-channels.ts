import { checkChannelName, checkGroupName, nodeOf } from "../names.ts";
import type { LocalChannels } from "./local-channels.ts";
import type { NodeRequests } from "./node-requests.ts";

const TIMEOUT_MS = 5_000;

interface Change {
  readonly group: string;
  readonly channel: string;
}

interface Closing {
  readonly channel: string;
  readonly code: number;
  readonly reason: string;
}

/** What only the node of a connection can do: asked of it, and done here when another node asks. */
export class RemoteChannels {
  readonly #requests: NodeRequests;

  constructor(requests: NodeRequests, local: LocalChannels) {
    this.#requests = requests;
    requests.handle("groupAdd", async (body) => {
      const { group, channel } = checked(body as Change);
      await local.groupAdd(group, channel);
      return null;
    });
    requests.handle("groupDiscard", (body) => {
      const { group, channel } = checked(body as Change);
      local.groupDiscard(group, channel);
      return null;
    });
    requests.handle("closeChannel", (body) => {
      const { channel, code, reason } = body as Closing;
      local.close(channel, code, reason);
      return null;
    });
  }

  /** @throws ConnectionClosed, LayerUnavailable */
  async groupAdd(group: string, channel: string): Promise<void> {
    await this.#ask("groupAdd", { group, channel } satisfies Change);
  }

  /** @throws LayerUnavailable */
  async groupDiscard(group: string, channel: string): Promise<void> {
    await this.#ask("groupDiscard", { group, channel } satisfies Change);
  }

  /** @throws ConnectionClosed, LayerUnavailable */
  async close(channel: string, code: number, reason: string): Promise<void> {
    await this.#ask("closeChannel", { channel, code, reason } satisfies Closing);
  }

  #ask(verb: string, body: Change | Closing): Promise<unknown> {
    return this.#requests.ask(nodeOf(body.channel), verb, body, TIMEOUT_MS);
  }
}

function checked(change: Change): Change {
  checkGroupName(change.group);
  checkChannelName(change.channel);
  return change;
}
