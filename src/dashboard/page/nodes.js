// Each node: whether it reports, how busy it is, what it runs.

import { Spark } from "./charts.js";
import { create, say, sayOrHide } from "./dom.js";
import { bytes, duration, nodeName, number, percent, rate } from "./format.js";

const STATES = { fresh: "reports", stale: "stale", gone: "gone", stopped: "stopped" };

export class Nodes {
  element = create("div", { class: "view" });
  #list = create("ul", { class: "nodes", "data-testid": "nodes" });
  #cards = new Map();

  constructor() {
    this.element.append(create("h1", { class: "hidden-text" }, "Nodes"), this.#list);
  }

  show({ cluster }) {
    const left = new Set(this.#cards.keys());
    for (const node of cluster.nodes) {
      left.delete(node.node);
      let card = this.#cards.get(node.node);
      if (!card) {
        card = new NodeCard();
        this.#cards.set(node.node, card);
        this.#list.append(card.element);
      }
      card.show(node);
    }
    for (const name of left) {
      this.#cards.get(name).element.remove();
      this.#cards.delete(name);
    }
  }
}

class NodeCard {
  element = create("li", { class: "card node", "data-testid": "node" });
  #name = create("h2");
  #badge = create("span", { class: "badge", "data-testid": "node-state" });
  #sub = create("p", { class: "muted small" });
  #facts = new Map();
  #spark = new Spark();
  #cpu = create("meter", { min: 0, max: 1, low: 0.6, high: 0.85, optimum: 0, "aria-label": "Processor" });
  #note = create("p", { class: "node-note", hidden: "" });
  #number = 0;

  constructor() {
    const facts = create("dl", { class: "facts" });
    for (const id of ["load", "cpu", "memory", "loop", "in", "out", "rest", "up"]) {
      const [label, value] = [create("dt"), create("dd")];
      this.#facts.set(id, { label, value });
      facts.append(create("div", {}, label, value));
    }
    this.#facts.get("cpu").value.append(create("span"), this.#cpu);
    this.element.append(
      create("header", { class: "node-head" }, create("div", {}, this.#name, this.#sub), this.#badge),
      this.#spark.element,
      facts,
      this.#note,
    );
  }

  show(node) {
    const { gauges, rates } = node;
    const isWorker = node.phase === "works";
    const isSilent = node.state === "stale" || node.state === "gone";
    this.element.dataset.state = node.state;
    say(this.#name, nodeName(node));
    this.#name.title = node.node;
    const phase = node.phase === "serving" ? STATES.fresh : node.phase;
    const words = node.state === "fresh" ? (node.isDegraded ? "alone" : phase) : STATES[node.state];
    say(this.#badge, isSilent ? `${words} · ${duration(node.ageMs)}` : words);
    this.#badge.dataset.tone =
      node.state === "gone"
        ? "bad"
        : isSilent || node.isDegraded || node.phase === "draining"
          ? "wait"
          : node.state === "fresh"
            ? "good"
            : "";
    const version = node.appVersion ? `${node.appVersion} · ` : "";
    say(this.#sub, `${version}sluice ${node.version} · ${node.runtime}`);
    const cpu = this.#facts.get("cpu");
    say(cpu.label, "Processor");
    say(cpu.value.firstChild, percent(gauges.cpu));
    this.#cpu.value = Math.min(gauges.cpu, 1);
    this.#fact("memory", "Memory", bytes(gauges.rssBytes));
    this.#fact("loop", "Loop delay", `${gauges.loopMs.toFixed(gauges.loopMs < 10 ? 1 : 0)} ms`);
    if (isWorker) {
      this.#fact("load", "Runs now", number(gauges.tasksRunning));
      this.#fact("in", "Done", `${rate(rates.tasksDone)}/s`);
      this.#fact("out", "Failed", `${rate(rates.tasksFailed)}/s`);
      this.#fact("rest", "Retried", `${rate(rates.tasksRetried)}/s`);
    } else {
      this.#fact("load", "Connections", number(gauges.connections));
      this.#fact("in", "Events in", `${rate(rates.received)}/s`);
      this.#fact("out", "Delivered", `${rate(rates.delivered)}/s`);
      this.#fact("rest", "Waiting", bytes(gauges.waitingBytes));
    }
    this.#fact("up", "Up", duration(Date.now() - node.ageMs - node.startedAt));
    sayOrHide(
      this.#note,
      isSilent
        ? `It has not reported for ${duration(node.ageMs)}; what stands here is what it said last.`
        : node.isDegraded && node.state === "fresh"
          ? "It cannot reach the other nodes. Groups on it go on."
          : "",
    );
    if (node.number !== this.#number) this.#spark.add(isWorker ? gauges.tasksRunning : gauges.connections);
    this.#number = node.number;
  }

  #fact(id, label, words) {
    const fact = this.#facts.get(id);
    say(fact.label, label);
    say(fact.value, words);
  }
}
