/** The Engine.IO layer by long polling: bodies of packets, sessions of others, polls that are given up. */
import { Agent, request } from "node:http";
import type { FuzzedServer } from "./fuzzed-server.ts";
import type { Dice } from "./mutations.ts";
import { packets } from "./packets.ts";

const PER_SESSION = 25;

interface Answer {
  readonly status: number;
  readonly body: string;
}

export async function attackPolling(server: FuzzedServer, dice: Dice, cases: number): Promise<number> {
  const agent = new Agent({ keepAlive: true, maxSockets: 16 });
  const ask = (method: string, query: string, body?: string | Buffer, contentType?: string) =>
    asked(agent, server.port, method, `/socket.io/?EIO=4&transport=polling${query}`, body, contentType);
  let sent = 0;
  const stray: Promise<unknown>[] = [];
  while (sent < cases) {
    const { body } = await ask("GET", "");
    const sid = /"sid":"([^"]+)"/.exec(body)?.[1] ?? "none";
    for (let i = 0; i < PER_SESSION; i += 1) {
      sent += 1;
      const query = `&sid=${dice.chance(0.97) ? sid : dice.one(["", "__proto__", sid.slice(1), "%00"])}`;
      const isPoll = dice.chance(0.2);
      if (isPoll) stray.push(ask("GET", query));
      else {
        const answer = await ask(
          "POST",
          query,
          bodyOf(dice),
          dice.one(["text/plain", "text/plain", "application/octet-stream"]),
        );
        if (answer.status >= 400 && query === `&sid=${sid}`) break;
      }
    }
    // A session that the server ends waits for one more poll to say so in.
    stray.push(ask("GET", `&sid=${sid}`));
    await ask("POST", `&sid=${sid}`, "1", "text/plain");
    await Promise.all(stray.splice(0));
  }
  agent.destroy();
  return sent;
}

function bodyOf(dice: Dice): string | Buffer {
  const several = Array.from({ length: 1 + dice.below(3) }, () => packets(dice)).flat();
  const texts = several.map((packet) =>
    typeof packet === "string" ? packet : `b${packet.toString("base64")}`,
  );
  const body = texts.join("\u001e");
  return dice.act<string | Buffer>([
    [6, () => body],
    [2, () => dice.scratch(body)],
    [1, () => dice.bytes(50)],
    [0.1, () => "4".repeat(25_000)],
  ]);
}

function asked(
  agent: Agent,
  port: number,
  method: string,
  path: string,
  body?: string | Buffer,
  contentType = "text/plain",
): Promise<Answer> {
  return new Promise((resolve) => {
    const asking = request({
      agent,
      port,
      host: "127.0.0.1",
      method,
      path,
      headers: { "Content-Type": contentType },
    });
    // A session that ends may take its connection along.
    const lost = () => resolve({ status: 499, body: "" });
    asking.once("error", lost);
    asking.once("response", (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk) => {
        text += chunk;
      });
      response.once("error", lost);
      response.once("close", () => resolve({ status: response.statusCode ?? 0, body: text }));
    });
    asking.end(body);
  });
}
