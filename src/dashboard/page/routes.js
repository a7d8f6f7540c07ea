// The table of routes as it resolves, over all nodes.

import { create, Table } from "./dom.js";
import { number } from "./format.js";

const KINDS = new Map([
  ["socket", "Socket.IO"],
  ["sse", "Server-Sent Events"],
  ["http", "HTTP"],
]);

export class Routes {
  element = create("div", { class: "view" });
  #table = new Table({
    label: "Routes",
    testId: "routes",
    empty: "There are no routes.",
    columns: [
      { label: "Route", class: "mono main", text: ({ pattern }) => pattern },
      { label: "Consumer", text: ({ consumer }) => consumer || "–" },
      { label: "By", text: ({ kind }) => KINDS.get(kind) ?? kind },
      { label: "Open", class: "figure", text: ({ kind, open }) => (kind === "http" ? "–" : number(open)) },
      {
        label: "Let in so far",
        class: "figure",
        text: ({ kind, accepted }) => (kind === "http" ? "–" : number(accepted)),
      },
      { label: "Nodes", class: "figure", text: ({ nodes }) => number(nodes) },
    ],
  });

  constructor() {
    this.element.append(
      create("h1", { class: "hidden-text" }, "Routes"),
      create("section", { class: "card" }, this.#table.element),
    );
  }

  show({ cluster }) {
    this.#table.show(cluster.routes.map((route) => ({ ...route, key: `${route.kind} ${route.pattern}` })));
  }
}
