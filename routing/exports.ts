import { type Response, Router } from "express";
import { type ChannelLayer, statusOf, verdictOf } from "sluice";
import type { Tasks } from "sluice/tasks";
import type { Transcript } from "../tasks/export-room.ts";
import { transcriptGroup } from "./groups.ts";

/** `GET /exports/<id of the run>?ticket=...`: the transcript, to whoever has the ticket, from any node. */
export function exportFiles({
  tasks,
  layer,
}: {
  readonly tasks: Tasks;
  readonly layer: ChannelLayer;
}): Router {
  const router = Router();
  router.get("/exports/:id", async (request, response) => {
    response.set("Cache-Control", "no-store");
    try {
      const { id } = tasks.handleFor(request.query.ticket);
      if (id !== request.params.id) return say(response, 403, "This ticket is for another export.");
      const { messages } = await layer.history(transcriptGroup(id), { limit: 1 });
      if (messages[0] === undefined) {
        return say(response, 410, "This transcript is not kept any longer. Export the room again.");
      }
      const { file, text } = messages[0].payload as Transcript;
      response.attachment(file).type("text/plain").send(text);
    } catch (error) {
      const { closeCode, message } = verdictOf(error);
      say(response, statusOf(closeCode), message);
    }
  });
  return router;
}

function say(response: Response, status: number, words: string): void {
  if (status === 503) response.set("Retry-After", "5");
  response.status(status).type("text/plain").send(`${words}\n`);
}
