import { setTimeout } from "node:timers/promises";
import { LayerUnavailable } from "sluice";
import { task } from "sluice/tasks";
import { z } from "zod";
import { ROOM_SIZE, roomGroup, TRANSCRIPT_MS, transcriptGroup } from "../routing/groups.ts";

const PAGE = 20;
/** Between two pages: whoever chats comes first. */
const PAUSE_MS = 100;
const MAX_BYTES = 150_000;

/** A message as ChatConsumer sends it; one that was published over HTTP may look otherwise. */
const Said = z.object({ from: z.object({ name: z.string() }), text: z.string(), at: z.number() });

/** What the download route finds. */
export interface Transcript {
  readonly file: string;
  readonly text: string;
}

/**
 * Writes down what a room remembers. The text is put where every node finds it (routing/exports.ts); the
 * result, which every watching tab is sent, only says what there is.
 */
export const exportRoom = task(
  "room.export",
  {
    schema: z.object({ room: z.string() }),
    retry: { attempts: 5, on: [LayerUnavailable] },
    timeLimitMs: 60_000,
    rate: { max: 1, perMs: 1_000 }, // bounds what is kept at a time
  },
  async ({ room }, run) => {
    const lines: string[] = [];
    let bytes = 0;
    let before: number | undefined;
    let isCut = false;
    for (let more = true; more && !isCut; ) {
      const page = await run.layer.history(roomGroup(room), {
        limit: PAGE,
        ...(before !== undefined && { before }),
      });
      for (const { event, payload } of page.messages.toReversed()) {
        const said = event === "message" ? Said.safeParse(payload) : undefined;
        if (!said?.success) continue;
        const line = lineOf(said.data);
        bytes += Buffer.byteLength(line);
        isCut = bytes > MAX_BYTES;
        if (isCut) break;
        lines.push(line);
      }
      run.progress(lines.length, Math.max(ROOM_SIZE, lines.length));
      before = page.messages[0]?.offset;
      more = page.more && before !== undefined;
      if (more) await setTimeout(PAUSE_MS, undefined, { signal: run.signal });
    }
    const now = new Date().toISOString();
    const head = `The room ${room}, ${stamp(now)}. Messages: ${lines.length}${isCut ? ", the newest that had room here" : ""}\n\n`;
    const file = `chat-${room}-${now.slice(0, 10)}.txt`;
    const transcript: Transcript = { file, text: head + lines.reverse().join("") };
    await run.layer.groupEmit(transcriptGroup(run.id), "transcript", transcript);
    run.progress(lines.length, lines.length);
    return { room, messages: lines.length, keptMs: TRANSCRIPT_MS };
  },
);

/** Further lines of a message are indented, so that nobody can write one that looks like somebody else's. */
function lineOf({ from, text, at }: z.infer<typeof Said>): string {
  const paragraphs = text.split(/\r\n|[\n\v\f\r\u0085\u2028\u2029]/).map(readable);
  const name = readable(from.name.replace(/[\u2028\u2029]/g, " "));
  return `[${stamp(new Date(at).toISOString())}] ${name}: ${paragraphs.join("\n    ")}\n`;
}

/** Without characters that a terminal would obey. */
function readable(text: string): string {
  return text.replace(/[^\P{Cc}\t]/gu, "\ufffd");
}

function stamp(iso: string): string {
  return `${iso.slice(0, 19).replace("T", " ")} UTC`;
}
