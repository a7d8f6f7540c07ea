// The line above the composer that shows how an export goes, in every tab of whoever asked for it: each is sent
// the ticket, and so is one that is opened, or loaded anew, while there is something to see.

import { button, byId, create } from "./dom.js";

export class ExportLine {
  #line = byId("export");
  #text = byId("export-text");
  #bar = byId("export-bar");
  #actions = byId("export-actions");
  #on;
  #watch = null; // of the last one, also when it is over
  #gone = 0; // timer: the transcript is not kept any longer

  /**
   * `on.watch(ticket)` is a TaskWatch; `on.room` is this page's, and `on.retry()` asks for another export of
   * it; `on.close()`: the keyboard needs another place.
   */
  constructor(on) {
    this.#on = on;
  }

  /** An export of a room has begun. */
  show({ id, room, ticket }) {
    if (id === this.#watch?.id) return;
    this.#watch?.stop();
    clearTimeout(this.#gone);
    const watch = this.#on.watch(ticket);
    this.#watch = watch;
    this.#enter("waiting", `Export of ${room}: waiting for its turn`);
    watch.on("progress", (status) => this.#progress(room, status));
    watch.on("done", ({ result }) => this.#done(id, ticket, result));
    watch.on("failed", (reason) => this.#failed(room, reason));
  }

  #progress(room, { state, progress }) {
    if (state !== "running") return this.#enter("waiting", `Export of ${room}: waiting for its turn`);
    this.#enter("running", `Exporting ${room}`);
    if (!progress) return;
    this.#bar.max = progress.total || 1;
    this.#bar.value = progress.done;
  }

  #done(id, ticket, { room, messages, keptMs }) {
    const href = `/exports/${encodeURIComponent(id)}?ticket=${encodeURIComponent(ticket)}`;
    const link = create("a", { class: "quiet download", href, "data-testid": "export-link" }, "Download");
    const count = messages === 1 ? "1 message" : `${messages} messages`;
    this.#enter("done", `The transcript of ${room} is ready: ${count}`, [link, this.#close()]);
    this.#gone = setTimeout(() => this.#enter("none"), keptMs);
  }

  #failed(room, { code }) {
    // Over for so long that nobody knows of it any more.
    if (code === "unknown_task" || code === "ticket_refused") return this.#enter("none");
    // Another room's is tried again there.
    const retry = room === this.#on.room && button("Try again", () => this.#on.retry(), { class: "quiet" });
    this.#enter("failed", `The export of ${room} failed`, [retry, this.#close()].filter(Boolean));
  }

  #close() {
    const close = () => {
      this.#enter("none");
      this.#on.close();
    };
    return button("Close", close, { class: "quiet" });
  }

  #enter(phase, text = "", actions = []) {
    if (phase === this.#line.dataset.phase && text === this.#text.textContent) return; // or it is read out again
    this.#line.dataset.phase = phase;
    this.#text.textContent = text;
    this.#bar.hidden = phase !== "waiting" && phase !== "running";
    if (phase === "waiting") this.#bar.removeAttribute("value");
    this.#actions.replaceChildren(...actions);
  }
}
