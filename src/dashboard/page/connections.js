// Connections: the newest of each node, or those with certain words; only while this view is open.

import { connectionTable, disconnectUser } from "./connection-table.js";
import { create, lineForm, say } from "./dom.js";
import { number } from "./format.js";

const MAX_SHOWN = 100;
const QUIET_MS = 300;

export class Connections {
  element = create("div", { class: "view" });
  #app;
  #table;
  #field = create("input", {
    type: "search",
    placeholder: "User, address, namespace or channel",
    "aria-label": "Find connections",
    "data-testid": "find",
    maxlength: 100,
    autocapitalize: "none",
    spellcheck: "false",
  });
  #summary = create("p", { class: "muted small", role: "status" });
  #lists = new Map();
  #nodes = new Map();
  #words = "";
  #isOpen = false;
  #timer = 0;

  constructor(app) {
    this.#app = app;
    this.#table = connectionTable(app, {
      label: "Connections",
      testId: "connections",
      empty: [
        create("p", { class: "empty-title" }, "No connection to show"),
        create("p", {}, "Nobody is connected, or nobody whom these words are about."),
      ],
      nodeOf: (node) => this.#nodes.get(node) ?? node,
    });
    const anyUser = lineForm({
      ...{
        label: "User to disconnect",
        placeholder: "User's id",
        maxlength: 256,
        submit: "Disconnect user…",
      },
      done: (user) => disconnectUser(app, user),
    });
    this.#field.addEventListener("input", () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#find(), QUIET_MS);
    });
    this.element.append(
      create("h1", { class: "hidden-text" }, "Connections"),
      create("div", { class: "view-bar" }, this.#field, anyUser),
      create(
        "section",
        { class: "card" },
        create("header", { class: "card-head" }, create("h2", {}, "Connections"), this.#summary),
        this.#table.element,
      ),
    );
  }

  opened() {
    this.#isOpen = true;
    this.#draw();
  }

  closed() {
    this.#isOpen = false;
    this.#lists.clear();
  }

  /** What nodes are asked to show. */
  get wish() {
    return this.#isOpen ? { connections: this.#words } : {};
  }

  show({ cluster }) {
    this.#nodes = new Map(cluster.nodes.map(({ node, pid, host }) => [node, `${pid}@${host}`]));
    const here = new Set(
      cluster.nodes.filter(({ state }) => state === "fresh" || state === "stale").map(({ node }) => node),
    );
    for (const node of this.#lists.keys()) if (!here.has(node)) this.#lists.delete(node);
  }

  told({ node, words, total, connections }) {
    if (words !== this.#words.toLowerCase()) return;
    this.#lists.set(node, { total, connections });
    if (this.#isOpen) this.#draw();
  }

  #find() {
    this.#words = this.#field.value.trim();
    this.#lists.clear();
    this.#app.wish();
  }

  #draw() {
    const all = [...this.#lists].flatMap(([node, { connections }]) =>
      connections.map((connection) => ({ ...connection, node, key: connection.channel })),
    );
    all.sort((a, b) => a.ageMs - b.ageMs);
    const shown = all.slice(0, MAX_SHOWN);
    const total = [...this.#lists.values()].reduce((sum, list) => sum + list.total, 0);
    say(
      this.#summary,
      total > shown.length ? `the newest ${shown.length} of ${number(total)}` : `${number(total)} in all`,
    );
    this.#table.show(shown);
  }
}
