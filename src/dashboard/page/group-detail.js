// One group: how much goes through it, who is present, and its members on all nodes.

import { connectionTable, showPeople } from "./connection-table.js";
import { create, say, sayOrHide } from "./dom.js";
import { duration, number, rate } from "./format.js";
import { sumInFull, Told } from "./group-sums.js";

const SHOWN_USERS = 100;

export class GroupDetail {
  element = create("div", { class: "view", "data-testid": "group", hidden: "" });
  #app;
  #title = create("h2", { class: "mono place", tabindex: -1, "data-testid": "group-name" });
  #layer = create("p", { class: "muted", hidden: "" });
  #tiles = new Map();
  #people = create("div", { class: "people padded" });
  #peopleCard;
  #summary = create("p", { class: "muted small", role: "status" });
  #table;
  #told = new Told();
  #nodes = new Map();

  constructor(app) {
    this.#app = app;
    this.#table = connectionTable(app, {
      label: "Members",
      testId: "members",
      empty: [
        create("p", { class: "empty-title" }, "Nobody is in it now"),
        create("p", {}, "A group is there as long as a consumer is in it. Who joins is shown here."),
      ],
      nodeOf: (node) => this.#nodes.get(node) ?? node,
    });
    this.#table.element.hidden = true;
    const tiles = create("dl", { class: "tiles few" });
    for (const [id, label] of [
      ["members", "Members"],
      ["rate", "Messages per second"],
      ["present", "Present"],
      ["history", "Entries of its history so far"],
    ]) {
      const value = create("dd", { class: "tile-value", "data-testid": `group-${id}` });
      const note = create("dd", { class: "tile-note" });
      const tile = create("div", { class: "card tile" }, create("dt", {}, label), value, note);
      this.#tiles.set(id, { tile, value, note });
      tiles.append(tile);
    }
    const card = (title, note, ...content) =>
      create(
        "section",
        { class: "card" },
        create("header", { class: "card-head" }, create("h2", {}, title), note),
        ...content,
      );
    this.#peopleCard = card(
      "Present",
      create("p", { class: "muted" }, "choose somebody to disconnect"),
      this.#people,
    );
    this.element.append(
      create(
        "div",
        { class: "view-bar" },
        create("a", { class: "quiet bordered", href: "#groups", "data-testid": "back" }, "← All groups"),
      ),
      create("div", {}, this.#title, this.#layer),
      tiles,
      this.#peopleCard,
      card("Members", this.#summary, this.#table.element),
    );
  }

  /** @param place - `{ layer, group }` */
  open({ layer, group }, wasMoved) {
    this.#told.clear();
    say(this.#title, group);
    sayOrHide(this.#layer, layer === "default" ? "" : `on the layer ${layer}`);
    this.#draw();
    if (wasMoved) this.#title.focus();
  }

  show(nodes, here) {
    this.#nodes = nodes;
    this.#told.keep(here);
  }

  told({ node, ...group }) {
    this.#told.set(node, group);
    this.#draw();
  }

  #draw() {
    const isKnown = this.#told.size > 0;
    this.#table.element.hidden = !isKnown;
    this.#peopleCard.hidden = true;
    if (!isKnown) {
      say(this.#summary, "Looking…");
      for (const id of this.#tiles.keys())
        this.#tile(id, id === "members" || id === "rate" ? "–" : undefined);
      return;
    }
    const { members, nodes, sentPerSecond, present, users, history, connections } = sumInFull(this.#told.all);
    this.#tile("members", number(members), onNodes(nodes));
    this.#tile("rate", sentPerSecond === undefined ? "–" : rate(sentPerSecond), "sent to it, by all nodes");
    this.#tile("present", present === undefined ? undefined : number(present), "users, each counted once");
    this.#tile(
      "history",
      history && number(history.offset),
      history && `the last ${number(history.size)} messages are kept, for ${duration(history.ttlMs)}`,
    );
    this.#tiles.get("history").tile.title = history?.epoch ? `epoch ${history.epoch}` : "";
    this.#peopleCard.hidden = !present;
    showPeople(this.#app, this.#people, { present, users }, SHOWN_USERS);
    say(
      this.#summary,
      members > connections.length
        ? `${number(connections.length)} of ${number(members)}, those who joined last at each node`
        : members > 0
          ? `${number(members)} in all`
          : "",
    );
    this.#table.show(connections);
  }

  /** @param words - undefined: there is nothing to tell */
  #tile(id, words, note = "") {
    const { tile, value, note: below } = this.#tiles.get(id);
    tile.hidden = words === undefined;
    say(value, words ?? "");
    say(below, note);
  }
}

function onNodes(nodes) {
  if (nodes === 0) return "on no node";
  return nodes === 1 ? "on 1 node" : `on ${number(nodes)} nodes`;
}
