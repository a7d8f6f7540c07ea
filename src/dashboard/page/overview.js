// The whole at a glance: what there is, how much goes through, what goes wrong.

import { inWords } from "./causes.js";
import { Chart, Charts } from "./charts.js";
import { create, say } from "./dom.js";
import { bytes, number, rate } from "./format.js";

export class Overview {
  element = create("div", { class: "view" });
  #tiles = new Map();
  #charts;
  #causes = create("ul", { class: "causes" });
  #causesCard;

  constructor() {
    const tiles = create("dl", { class: "tiles" });
    for (const [id, label] of [
      ["nodes", "Nodes"],
      ["connections", "Connections"],
      ["received", "Events in, per second"],
      ["delivered", "Deliveries, per second"],
      ["trouble", "Trouble, per second"],
      ["rss", "Memory, all nodes"],
    ]) {
      const value = create("dd", { class: "tile-value", "data-testid": `tile-${id}` }, "–");
      const note = create("dd", { class: "tile-note" });
      const tile = create("div", { class: "card tile" }, create("dt", {}, label), value, note);
      this.#tiles.set(id, { tile, value, note });
      tiles.append(tile);
    }
    const charts = [
      new Chart({
        title: "Connections",
        testId: "chart-connections",
        isWhole: true,
        format: number,
        series: [{ label: "open", color: "--accent", fill: true, read: (point) => point.connections }],
      }),
      new Chart({
        title: "Messages per second",
        testId: "chart-messages",
        format: rate,
        series: [
          { label: "from clients", color: "--accent", read: (point) => point.received },
          { label: "to groups", color: "--second", read: (point) => point.sent },
          { label: "delivered", color: "--third", read: (point) => point.delivered },
        ],
      }),
      new Chart({
        title: "Trouble per second",
        testId: "chart-trouble",
        format: rate,
        series: [
          { label: "refused", color: "--wait", read: (point) => point.denied },
          { label: "failed, dropped, lost", color: "--bad", read: (point) => point.trouble },
        ],
      }),
      new Chart({
        title: "Event loop delay, worst node",
        testId: "chart-loop",
        isWhole: true,
        format: (ms) => `${number(ms)} ms`,
        series: [{ label: "99 of 100 below", color: "--second", fill: true, read: (point) => point.loopMs }],
      }),
    ];
    this.#charts = new Charts(charts);
    this.#causesCard = create(
      "section",
      { class: "card", hidden: "" },
      create(
        "header",
        { class: "card-head" },
        create("h2", {}, "What went wrong"),
        create("p", { class: "muted" }, "since each node began"),
      ),
      this.#causes,
    );
    this.element.append(
      tiles,
      create(
        "div",
        { class: "view-bar" },
        create("h1", { class: "hidden-text" }, "Overview"),
        this.#charts.element,
      ),
      create("div", { class: "charts" }, ...charts.map(({ element }) => element)),
      this.#causesCard,
    );
  }

  show({ cluster, points }) {
    const fresh = cluster.nodes.filter(({ state }) => state === "fresh");
    const sum = (read) => fresh.reduce((all, node) => all + read(node), 0);
    const stale = cluster.nodes.filter(({ state }) => state === "stale" || state === "gone").length;
    const versions = new Set(fresh.map(({ version, appVersion }) => `${version} ${appVersion}`)).size;
    this.#tile(
      "nodes",
      number(fresh.length),
      `${stale ? `${stale} not heard of` : "all report"}${versions > 1 ? `, ${versions} versions` : ""}`,
      stale ? "bad" : "",
    );
    const groups = sum(({ gauges }) => gauges.groups);
    const routes = new Set(cluster.routes.map(({ pattern }) => pattern)).size;
    this.#tile("connections", number(sum(({ gauges }) => gauges.connections)), `${number(routes)} routes`);
    this.#tile(
      "received",
      rate(sum(({ rates }) => rates.received)),
      `${rate(sum(({ rates }) => rates.sent))} to groups`,
    );
    this.#tile(
      "delivered",
      rate(sum(({ rates }) => rates.delivered)),
      groups === 1 ? "1 group" : `${number(groups)} groups`,
    );
    const trouble = sum(({ rates }) => rates.failed + rates.dropped + rates.lost);
    const refused = sum(({ rates }) => rates.denied + rates.refused + rates.limited);
    this.#tile("trouble", rate(trouble), `${rate(refused)} refused`, trouble > 0 ? "bad" : "");
    const cores = sum(({ gauges }) => gauges.cpu);
    this.#tile("rss", bytes(sum(({ gauges }) => gauges.rssBytes)), `${cores.toFixed(1)} cores in use`);
    this.#charts.show(points);
    this.#showCauses(cluster.causes);
  }

  #tile(id, words, note, tone = "") {
    const tile = this.#tiles.get(id);
    say(tile.value, words);
    say(tile.note, note);
    tile.tile.dataset.tone = tone;
  }

  #showCauses(causes) {
    this.#causesCard.hidden = causes.length === 0;
    this.#causes.replaceChildren(
      ...causes.map(([cause, count]) => {
        const { words, code } = inWords(cause);
        return create(
          "li",
          {},
          create("span", {}, words, code && " ", code && create("code", {}, code)),
          create("b", {}, number(count)),
        );
      }),
    );
  }
}
