// The live tail of signals: what happens now, on all nodes; only while this view is open.

import { button, create, say } from "./dom.js";
import { clock, number } from "./format.js";

const MAX_LINES = 500;
const QUIET_MS = 300;

const KINDS = [
  ["Connections", ["connected", "disconnected", "denied"]],
  ["Events", ["received", "handled"]],
  [
    "Trouble",
    [
      "refused",
      "limited",
      "failed",
      "dropped",
      "lost",
      "gap",
      "unopened",
      "layerDown",
      "layerUp",
      "receiverFailed",
      "draining",
      "task.stalled",
      "task.blocking",
      "task.brokerDown",
      "task.brokerUp",
      "task.faulted",
    ],
  ],
  ["Groups", ["groupAdded", "groupDiscarded", "groupSent", "present", "recovered"]],
  [
    "Tasks",
    [
      "task.queued",
      "task.started",
      "task.progress",
      "task.retrying",
      "task.succeeded",
      "task.failed",
      "task.cancelled",
      "task.expired",
      "task.workerUp",
      "task.workerDown",
    ],
  ],
  ["HTTP", ["answered"]],
  ["Audit", ["audited"]],
];
const USUAL = new Set(["Connections", "Trouble", "Audit"]);

export class Tail {
  element = create("div", { class: "view tail-view" });
  #app;
  #kinds = new Set(USUAL);
  #chips = create("div", { class: "chips", role: "group", "aria-label": "Which signals" });
  #list = create("ol", {
    class: "lines",
    tabindex: 0,
    "aria-label": "Signals, the newest first",
    "data-testid": "lines",
  });
  #empty = create(
    "div",
    { class: "empty" },
    create("p", { class: "empty-title" }, "Listening…"),
    create("p", {}, "Signals appear here as they happen. What was before is not kept."),
  );
  #summary = create("p", { class: "muted small", role: "status" });
  #field = create("input", {
    type: "search",
    placeholder: "Only lines with…",
    "aria-label": "Filter",
    "data-testid": "filter",
    maxlength: 100,
    autocapitalize: "none",
    spellcheck: "false",
  });
  #hold;
  #isHeld = false;
  #held = [];
  #left = 0;
  #isOpen = false;
  #timer = 0;
  #nodes = new Map();
  #known = [];

  constructor(app) {
    this.#app = app;
    this.#hold = button("Hold", () => this.#toggleHold(), {
      class: "quiet bordered",
      "aria-pressed": "false",
      "data-testid": "hold",
    });
    const clear = button("Clear", () => this.#clear(), { class: "quiet bordered" });
    this.#field.addEventListener("input", () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#app.wish(), QUIET_MS);
    });
    this.element.append(
      create("h1", { class: "hidden-text" }, "Signals"),
      this.#chips,
      create(
        "div",
        { class: "view-bar" },
        this.#field,
        create("div", { class: "buttons" }, this.#hold, clear),
      ),
      create(
        "section",
        { class: "card" },
        create("header", { class: "card-head" }, create("h2", {}, "Signals"), this.#summary),
        this.#list,
        this.#empty,
      ),
    );
  }

  /** Which signals the nodes can be asked for. */
  begin(signals) {
    this.#known = signals;
    this.#chips.replaceChildren(
      ...KINDS.filter(([, names]) => names.some((name) => signals.includes(name))).map(([kind]) =>
        button(kind, (event) => this.#choose(kind, event.currentTarget), {
          class: "chip",
          "aria-pressed": String(this.#kinds.has(kind)),
        }),
      ),
    );
  }

  opened() {
    this.#isOpen = true;
    this.#draw();
  }

  closed() {
    this.#isOpen = false;
  }

  get wish() {
    if (!this.#isOpen) return {};
    const chosen = KINDS.filter(([kind]) => this.#kinds.has(kind)).flatMap(([, names]) => names);
    return { signals: chosen.filter((name) => this.#known.includes(name)), words: this.#field.value.trim() };
  }

  show({ cluster }) {
    this.#nodes = new Map(cluster.nodes.map(({ node, pid, host }) => [node, `${pid}@${host}`]));
  }

  told({ node, lines, left }) {
    this.#left += left;
    const named = lines.map((line) => ({ ...line, node: this.#nodes.get(node) ?? node }));
    if (this.#isHeld) this.#held = [...this.#held, ...named].slice(-MAX_LINES);
    else this.#add(named);
    this.#draw();
  }

  #add(lines) {
    this.#list.prepend(...lines.map(lineElement).reverse());
    while (this.#list.childElementCount > MAX_LINES) this.#list.lastElementChild.remove();
  }

  #draw() {
    const count = this.#list.childElementCount;
    this.#empty.hidden = count > 0;
    this.#list.hidden = count === 0;
    const held = this.#isHeld
      ? `held, ${number(this.#held.length)} new`
      : count === 1
        ? "1 line"
        : `${number(count)} lines`;
    say(
      this.#summary,
      this.#left > 0 ? `${held}; ${number(this.#left)} came too fast and were left out` : held,
    );
  }

  #choose(kind, chip) {
    if (!this.#kinds.delete(kind)) this.#kinds.add(kind);
    chip.setAttribute("aria-pressed", String(this.#kinds.has(kind)));
    this.#app.wish();
  }

  #toggleHold() {
    this.#isHeld = !this.#isHeld;
    this.#hold.setAttribute("aria-pressed", String(this.#isHeld));
    say(this.#hold, this.#isHeld ? "Go on" : "Hold");
    if (!this.#isHeld) this.#add(this.#held.splice(0));
    this.#draw();
  }

  #clear() {
    this.#list.replaceChildren();
    this.#held = [];
    this.#left = 0;
    this.#draw();
  }
}

function lineElement({ at, signal, tone, subject, detail, user, channel, node }) {
  return create(
    "li",
    { "data-tone": tone, title: channel },
    create("time", {}, clock(at)),
    create("span", { class: "signal" }, signal),
    create("span", { class: "subject" }, subject),
    create("span", { class: "detail" }, user ? `${user} · ${detail}` : detail),
    create("span", { class: "line-node" }, node),
  );
}
