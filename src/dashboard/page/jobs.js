// Runs of one queue in one state, in pages, and one of them in full.

import { ask, show } from "./dialogs.js";
import { button, create, lineForm, name, say, sayOrHide, Table } from "./dom.js";
import { moment, number, took } from "./format.js";

/** As the broker has them, and as they are called here. */
export const STATES = [
  ["waiting", "Waiting"],
  ["active", "Running"],
  ["delayed", "Delayed"],
  ["blocked", "Blocked"],
  ["failed", "Failed"],
  ["done", "Done"],
];
/** As `sluice/tasks` calls them. */
const PRIORITIES = { 1: "urgent", 2: "high", 3: "normal", 4: "low", 5: "idle" };
const PAGE = 25;

export class Jobs {
  element = create("section", { class: "card", hidden: "", "data-testid": "jobs-card" });
  #app;
  #title = create("h2");
  #error = create("p", { class: "field-error padded", role: "alert", hidden: "" });
  #states = create("div", { class: "segments scroll", role: "group", "aria-label": "State" });
  #table;
  #before;
  #after;
  #place = create("span", { class: "muted small" });
  #queue = "";
  #state = "waiting";
  #from = 0;
  #counts = {};
  #turn = 0;

  constructor(app) {
    this.#app = app;
    this.#table = new Table({
      label: "Runs",
      testId: "jobs",
      empty: create("p", {}, "There are none."),
      columns: [
        { label: "Task", class: "mono main", text: ({ task }) => task },
        { label: "Id", class: "mono cut", text: ({ id }) => id },
        { label: "Attempt", class: "figure", text: ({ attempt }) => number(attempt) },
        { label: "When", class: "wide-cell", text: (job) => when(job) },
        { label: "What", class: "what", text: (job) => what(job) },
        {
          label: "",
          class: "actions",
          make: (row) =>
            create(
              "div",
              { class: "buttons" },
              button("Run again", () => this.#act("retry", row()), {
                class: "small-button",
                "data-testid": "retry",
              }),
              button("Cancel", () => this.#act("cancel", row()), {
                class: "small-button danger",
                "data-testid": "cancel",
              }),
              button("Discard", () => this.#act("discard", row()), {
                class: "small-button danger",
                "data-testid": "discard",
              }),
              button("More", () => this.#details(row()), { class: "small-button", "data-testid": "more" }),
            ),
          fill: (element, { state, task, id }) => {
            const [retry, cancel, discard] = element.children;
            for (const one of element.children) name(one, `${one.textContent} ${task} ${id}`);
            retry.hidden = state !== "failed";
            cancel.hidden = state === "failed" || state === "done";
            discard.hidden = state === "active";
          },
        },
      ],
    });
    for (const [state, label] of STATES) {
      this.#states.append(
        button("", () => this.open(this.#queue, state), {
          "data-state": state,
          "data-label": label,
          "aria-pressed": "false",
        }),
      );
    }
    this.#before = button("Newer", () => this.#go(this.#from - PAGE), { class: "small-button" });
    this.#after = button("Further", () => this.#go(this.#from + PAGE), { class: "small-button" });
    const find = lineForm({
      ...{ label: "Id of a run", maxlength: 200, submit: "Find" },
      done: (id) => this.#find(id),
    });
    this.element.append(
      create("header", { class: "card-head" }, this.#title, find),
      this.#states,
      this.#error,
      this.#table.element,
      create("div", { class: "pager" }, this.#before, this.#place, this.#after),
    );
  }

  open(queue, state) {
    const isNew = queue !== this.#queue || state !== this.#state || this.element.hidden;
    this.#queue = queue;
    this.#state = state;
    if (isNew) this.#from = 0;
    this.element.hidden = false;
    this.#draw();
    this.#load();
  }

  /** Of each queue how many there are in each state; looks again if that is not as it was. */
  told(queues, changed) {
    this.#counts = Object.fromEntries(queues.map(({ queue, counts }) => [queue, counts]));
    if (this.element.hidden && queues.length > 0) {
      const first = queues.find(({ counts }) => counts.failed > 0) ?? queues[0];
      const state = STATES.find(([name]) => first.counts[name] > 0)?.[0] ?? "waiting";
      return this.open(first.queue, first.counts.failed > 0 ? "failed" : state);
    }
    if (this.element.hidden) return;
    this.#draw();
    if (changed || this.#state === "active") this.#load();
  }

  #draw() {
    const counts = this.#counts[this.#queue] ?? {};
    say(this.#title, `Runs of ${this.#queue}`);
    for (const segment of this.#states.children) {
      const { state, label } = segment.dataset;
      say(segment, `${label} ${number(counts[state] ?? 0)}`);
      const isChosen = state === this.#state;
      if (isChosen && segment.getAttribute("aria-pressed") === "false") {
        this.#states.scrollLeft = segment.offsetLeft - this.#states.offsetLeft - 16;
      }
      segment.setAttribute("aria-pressed", String(isChosen));
    }
    const total = counts[this.#state] ?? 0;
    say(
      this.#place,
      total === 0 ? "" : `${this.#from + 1}–${Math.min(this.#from + PAGE, total)} of ${number(total)}`,
    );
    this.#before.hidden = this.#from === 0;
    this.#after.hidden = this.#from + PAGE >= total;
  }

  async #load() {
    this.#turn += 1;
    const turn = this.#turn;
    this.#table.element.setAttribute("aria-busy", "true");
    try {
      const { jobs } = await this.#app.ask("jobs", {
        queue: this.#queue,
        state: this.#state,
        from: this.#from,
      });
      if (turn !== this.#turn) return;
      sayOrHide(this.#error, "");
      this.#table.show(jobs.map((job) => ({ ...job, key: job.id })));
    } catch (failure) {
      if (turn === this.#turn) sayOrHide(this.#error, failure.message);
    } finally {
      if (turn === this.#turn) this.#table.element.setAttribute("aria-busy", "false");
    }
  }

  #go(from) {
    this.#from = Math.max(0, from);
    this.#draw();
    this.#load();
  }

  async #find(id) {
    try {
      const { jobs } = await this.#app.ask("jobs", { id });
      if (jobs[0]) this.#details(jobs[0]);
      else sayOrHide(this.#error, "There is no such run: it never was, or is forgotten.");
    } catch (failure) {
      sayOrHide(this.#error, failure.message);
    }
  }

  #act(action, { id, task }, then) {
    const texts = {
      retry: [
        "Run it again?",
        "It is put into its queue as if it were new.",
        "Run again",
        "It waits for a worker.",
      ],
      cancel: [
        "Cancel this run?",
        "If it runs it is told to stop; if it waits it never runs.",
        "Cancel the run",
        "It was cancelled.",
      ],
      discard: [
        "Discard this run?",
        "It is forgotten, with its result and what it failed with.",
        "Discard",
        "It was discarded.",
      ],
    };
    const [title, words, yes, done] = texts[action];
    ask({
      title,
      words: [`${task} · ${id}`, words],
      yes,
      tone: action === "retry" ? "plain" : "danger",
      act: async () => {
        await this.#app.act(`${action} task`, id);
        then?.();
        this.#load();
      },
      done,
    });
  }

  #details(job) {
    const facts = create("dl", { class: "facts wide" });
    const fact = (label, value) => {
      if (value === undefined || value === "") return;
      facts.append(create("div", {}, create("dt", {}, label), create("dd", {}, value)));
    };
    fact("Id", job.id);
    fact("Queue", job.queue);
    fact("State", STATES.find(([state]) => state === job.state)?.[1] ?? job.state);
    fact("Attempt", number(job.attempt));
    fact("Priority", PRIORITIES[job.priority] ?? String(job.priority));
    fact("Added", moment(job.addedAt));
    fact("Not before", job.runAt > job.addedAt ? moment(job.runAt) : undefined);
    fact("Started", job.startedAt && moment(job.startedAt));
    fact("Ended", job.endedAt && moment(job.endedAt));
    fact("Took", job.endedAt && job.startedAt && took(job.endedAt - job.startedAt));
    fact("Steps before it", job.children ? number(job.children) : undefined);
    fact("Progress", job.progress && progressText(job.progress));
    const part = (title, text) =>
      text
        ? [create("h3", {}, title), create("pre", { tabindex: 0, role: "region", "aria-label": title }, text)]
        : [];
    const { error } = job;
    const close = () => sheet.close();
    const sheet = show(
      create(
        "article",
        {},
        create(
          "header",
          { class: "sheet-head" },
          create("h2", { class: "mono" }, job.task),
          button("Close", close, { class: "quiet bordered" }),
        ),
        facts,
        ...(error ? [create("h3", {}, "Error"), create("p", { class: "error-text" }, errorText(error))] : []),
        ...part("Stack", error?.stack),
        ...part("Arguments (values are hidden)", job.args),
        ...part("Result (values are hidden)", job.result),
        create(
          "div",
          { class: "dialog-actions" },
          ...(job.state === "failed"
            ? [button("Run again", () => this.#act("retry", job, close), { class: "quiet bordered" })]
            : []),
          ...(job.state !== "failed" && job.state !== "done"
            ? [button("Cancel", () => this.#act("cancel", job, close), { class: "quiet bordered danger" })]
            : []),
          ...(job.state !== "active"
            ? [button("Discard", () => this.#act("discard", job, close), { class: "quiet bordered danger" })]
            : []),
        ),
      ),
    );
  }
}

function when({ state, addedAt, runAt, startedAt, endedAt }) {
  if (state === "delayed") return `due ${moment(runAt)}`;
  if (state === "active") return `since ${moment(startedAt ?? addedAt)}`;
  if (endedAt) return startedAt ? `${moment(endedAt)}, took ${took(endedAt - startedAt)}` : moment(endedAt);
  return `added ${moment(addedAt)}`;
}

function what({ state, error, progress, isCancelled, children }) {
  if (isCancelled && state !== "failed") return "is being cancelled";
  if (progress && state === "active") return progressText(progress);
  if (error && state !== "done") return errorText(error);
  if (state === "blocked") return `waits for ${number(children)} steps`;
  return "";
}

/** What was thrown without a code has this one, which says nothing beside "failed". */
function errorText({ code, message }) {
  return code === "task_failed" ? message : `${code}: ${message}`;
}

function progressText({ done, total, note }) {
  const share =
    total > 0 ? `${Math.round((done / total) * 100)} % (${number(done)} of ${number(total)})` : number(done);
  return note ? `${share} ${note}` : share;
}
