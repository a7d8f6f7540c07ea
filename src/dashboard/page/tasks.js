// Tasks: queues, workers, schedules, and how much they do.

import { Chart, Charts } from "./charts.js";
import { ask } from "./dialogs.js";
import { button, create, name, say, sayOrHide, Table } from "./dom.js";
import { bytes, clock, duration, moment, number, rate } from "./format.js";
import { Jobs, STATES } from "./jobs.js";

/** A worker that has said nothing for so long. */
const SILENT_MS = 15_000;

export class Tasks {
  element = create("div", { class: "view" });
  #app;
  #jobs;
  #trouble = create("p", {
    class: "banner inline",
    role: "status",
    "data-testid": "tasks-trouble",
    hidden: "",
  });
  #queues;
  #workers;
  #schedules;
  #charts;
  #overview;

  constructor(app) {
    this.#app = app;
    this.#jobs = new Jobs(app);
    this.#queues = new Table({
      label: "Queues",
      testId: "queues",
      empty: [
        create("p", { class: "empty-title" }, "No queue was used yet"),
        create("p", {}, "A queue is there as soon as a task is enqueued."),
      ],
      columns: [
        {
          label: "Queue",
          class: "main",
          make: () =>
            create(
              "span",
              {},
              create("span", { class: "mono" }),
              " ",
              create("span", { class: "badge", "data-tone": "wait", hidden: "" }),
            ),
          fill: (element, { queue, isPaused, hasNoWorker }) => {
            say(element.firstChild, queue);
            sayOrHide(element.lastChild, isPaused ? "paused" : hasNoWorker ? "no worker" : "");
          },
        },
        ...STATES.map(([state, label]) => ({
          label,
          class: "figure",
          make: (row) =>
            button("0", () => this.#jobs.open(row().queue, state), { class: "count", "data-state": state }),
          fill: (element, { counts, queue }) => {
            say(element, number(counts[state]));
            name(element, `${number(counts[state])} ${label.toLowerCase()} in ${queue}`);
            element.dataset.none = String(counts[state] === 0);
          },
        })),
        {
          label: "",
          class: "actions",
          make: (row) =>
            button("Pause", () => this.#steer(row()), { class: "small-button", "data-testid": "steer" }),
          fill: (element, { isPaused, queue }) => {
            say(element, isPaused ? "Resume" : "Pause");
            name(element, `${isPaused ? "Resume" : "Pause"} ${queue}`);
          },
        },
      ],
    });
    this.#workers = new Table({
      label: "Workers",
      testId: "workers",
      empty: [
        create("p", { class: "empty-title" }, "No worker has said that it lives"),
        create("p", {}, "Start one with sluice work; what waits is not lost."),
      ],
      columns: [
        { label: "Worker", class: "main", text: ({ pid, host }) => `${pid}@${host}` },
        {
          label: "Heartbeat",
          make: () => create("span", { class: "badge" }),
          fill: (element, { ageMs }) => {
            say(element, `${duration(ageMs)} ago`);
            element.dataset.tone = ageMs > SILENT_MS ? "bad" : "good";
          },
        },
        {
          label: "Queues",
          class: "mono",
          text: ({ queues }) => queues.map(([queue, size]) => `${queue}:${size}`).join(" "),
        },
        { label: "Runs now", class: "figure", text: ({ active }) => number(active) },
        { label: "Done", class: "figure", text: ({ done }) => number(done) },
        { label: "Failed", class: "figure", text: ({ failed }) => number(failed) },
        { label: "Retried", class: "figure", text: ({ retried }) => number(retried) },
        { label: "Memory", class: "figure", text: ({ memoryBytes }) => bytes(memoryBytes) },
        { label: "Up", class: "figure", text: ({ startedAt }) => duration(Date.now() - startedAt) },
      ],
    });
    this.#schedules = new Table({
      label: "Schedules",
      testId: "schedules",
      empty: create("p", {}, "There are no schedules."),
      columns: [
        { label: "Schedule", class: "main", text: ({ id }) => id },
        { label: "Task", class: "mono", text: ({ task }) => task },
        {
          label: "When",
          class: "mono",
          text: ({ timing, tz }) => (tz === "UTC" ? timing : `${timing} (${tz})`),
        },
        { label: "Last run", text: ({ lastAt }) => (lastAt === undefined ? "never" : moment(lastAt)) },
        { label: "Next run", text: ({ nextAt }) => `${moment(nextAt)}, in ${duration(nextAt - Date.now())}` },
      ],
    });
    const throughput = new Chart({
      title: "Runs per second",
      testId: "chart-runs",
      format: rate,
      series: [
        { label: "done", color: "--third", read: (point) => point.tasksDone },
        { label: "failed", color: "--bad", read: (point) => point.tasksFailed },
      ],
    });
    const depth = new Chart({
      title: "In the queues",
      testId: "chart-queues",
      isWhole: true,
      format: number,
      series: [
        { label: "waiting", color: "--accent", fill: true, read: ({ backlog }) => backlog?.waiting },
        { label: "delayed", color: "--second", read: ({ backlog }) => backlog?.delayed },
        { label: "running", color: "--third", read: ({ backlog }) => backlog?.running },
      ],
    });
    this.#charts = new Charts([throughput, depth]);
    const card = (title, content, note) =>
      create(
        "section",
        { class: "card" },
        create("header", { class: "card-head" }, create("h2", {}, title), note),
        content,
      );
    this.element.append(
      create("h1", { class: "hidden-text" }, "Tasks"),
      this.#trouble,
      card(
        "Queues",
        this.#queues.element,
        create("p", { class: "muted" }, "choose a number to see the runs"),
      ),
      this.#jobs.element,
      create("div", { class: "view-bar" }, this.#charts.element),
      create("div", { class: "charts" }, throughput.element, depth.element),
      card("Workers", this.#workers.element),
      card("Schedules", this.#schedules.element),
    );
  }

  opened() {
    this.#watch(true);
  }

  closed() {
    this.#watch(false);
  }

  /** Also after the connection was lost. */
  #watch(isOn) {
    this.#app.ask("watch tasks", isOn).catch(() => {});
  }

  show({ points }) {
    this.#charts.show(points);
  }

  told(overview) {
    const { queues, workers, schedules, trouble, at } = overview;
    const then = at ? ` What stands here was true at ${clock(at)}.` : "";
    sayOrHide(this.#trouble, trouble ? `${trouble}.${then}` : "");
    const worked = new Set(workers.flatMap((worker) => worker.queues.map(([queue]) => queue)));
    this.#queues.show(
      queues.map((queue) => ({
        ...queue,
        key: queue.queue,
        hasNoWorker: queue.counts.waiting > 0 && !worked.has(queue.queue),
      })),
    );
    this.#workers.show(workers.map((worker) => ({ ...worker, key: worker.worker })));
    this.#schedules.show(schedules.map((schedule) => ({ ...schedule, key: schedule.id })));
    const changed = JSON.stringify(queues) !== JSON.stringify(this.#overview?.queues);
    this.#overview = overview;
    this.#jobs.told(queues, changed);
  }

  #steer({ queue, isPaused }) {
    if (isPaused) return this.#app.do("resume queue", queue, {}, `Work on ${queue} goes on.`);
    ask({
      title: `Pause ${queue}?`,
      words:
        "Nothing of this queue is given to workers until it is resumed. What runs goes on, what waits is kept.",
      yes: "Pause",
      act: () => this.#app.act("pause queue", queue),
      done: `${queue} is paused.`,
    });
  }
}
