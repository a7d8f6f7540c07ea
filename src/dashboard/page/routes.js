// The table of routes as it resolves, over all nodes.

import { create, Table } from "./dom.js";
import { number } from "./format.js";

const KINDS = { socket: "Socket.IO", sse: "Server-Sent Events", http: "HTTP" };

export class Routes {
  element = create("div", { class: "view" });
  #table = new Table({
    label: "Routes",
    testId: "routes",
    empty: "There are no routes.",
    columns: [
      { label: "Route", class: "mono main", text: ({ pattern }) => pattern },
      { label: "Consumer", text: ({ consumer }) => consumer || "–" },
      { label: "By", text: ({ kind }) => KINDS[kind] ?? kind },
      { label: "Open", class: "figure", text: ({ kind, open }) => (kind === "http" ? "–" : number(open)) },
      {
        label: "Let in so far",
        class: "figure",
        text: ({ kind, accepted }) => (kind === "http" ? "–" : number(accepted)),
      },
    ],
  });

  constructor() {
    this.element.append(
      create("h1", { class: "hidden-text" }, "Routes"),
      create("section", { class: "card" }, this.#table.element),
    );
  }

  show({ cluster }) {
    const all = new Map();
    for (const node of cluster.nodes.filter(({ state }) => state === "fresh")) {
      for (const { pattern, kind, consumer, open, accepted } of node.routes) {
        const key = `${kind} ${pattern}`;
        const sum = all.get(key) ?? { key, pattern, kind, consumer, open: 0, accepted: 0 };
        sum.open += open;
        sum.accepted += accepted;
        all.set(key, sum);
      }
    }
    this.#table.show([...all.values()]);
  }
}
