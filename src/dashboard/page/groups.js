// Groups: the busiest, or those with certain words in their names; and one of them, with its members.

import { showPeople } from "./connection-table.js";
import { create, say, Table } from "./dom.js";
import { nodeName, number, rate } from "./format.js";
import { GroupDetail } from "./group-detail.js";
import { sumOfLists, Told } from "./group-sums.js";

const SHOWN_USERS = 8;
const QUIET_MS = 300;
/** How long after a question nothing that was found is not yet taken for nothing. */
const PATIENCE_MS = 1_000;
/** As the server knows names. */
const NAME = /^[A-Za-z0-9._-]{1,99}$/;

export class Groups {
  element = create("div", { class: "view" });
  #app;
  #list = create("div", { class: "view" });
  #detail;
  #table;
  #field = create("input", {
    type: "search",
    placeholder: "Name of a group, or part of it",
    "aria-label": "Find groups",
    "data-testid": "find-groups",
    maxlength: 100,
    autocapitalize: "none",
    spellcheck: "false",
  });
  #title = create("h2", {}, "Busiest groups");
  #summary = create("p", { class: "muted small", role: "status" });
  #emptyTitle = create("p", { class: "empty-title" });
  #emptyHint = create("p");
  #told = new Told();
  #busiest = [];
  #here = new Set();
  #words = "";
  #place;
  #isOpen = false;
  #isPatient = false;
  #timer = 0;
  #patience = 0;

  constructor(app) {
    this.#app = app;
    this.#detail = new GroupDetail(app);
    this.#table = new Table({
      label: "Groups",
      testId: "groups",
      empty: [this.#emptyTitle, this.#emptyHint],
      columns: [
        {
          label: "Group",
          class: "mono main",
          make: () => create("a"),
          fill: (element, { layer, group }) => {
            say(element, layer === "default" ? group : `${layer}: ${group}`);
            const href = addressOf({ layer, group });
            if (element.getAttribute("href") !== href) element.setAttribute("href", href);
          },
        },
        { label: "Members", class: "figure", text: ({ members }) => number(members) },
        {
          label: "Messages per second",
          class: "figure",
          text: ({ sentPerSecond }) => (sentPerSecond === undefined ? "–" : rate(sentPerSecond)),
        },
        { label: "Nodes", class: "figure", text: ({ nodes }) => number(nodes) },
        {
          label: "Present",
          make: () => create("div", { class: "people" }),
          fill: (element, group) => showPeople(app, element, group, SHOWN_USERS),
        },
      ],
    });
    this.#table.element.classList.add("opens");
    this.#table.element.addEventListener("click", ({ target }) => {
      if (target.closest("a, button") || String(getSelection())) return;
      target.closest("tbody tr")?.querySelector("a").click();
    });
    this.#field.addEventListener("input", () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#find(), QUIET_MS);
    });
    this.#list.append(
      create("div", { class: "view-bar" }, this.#field),
      create(
        "section",
        { class: "card" },
        create("header", { class: "card-head" }, this.#title, this.#summary),
        this.#table.element,
      ),
    );
    this.element.append(create("h1", { class: "hidden-text" }, "Groups"), this.#list, this.#detail.element);
  }

  /** Of the page, while one group is open. */
  get title() {
    return this.#place?.group;
  }

  /** What nodes are asked to show. */
  get wish() {
    if (!this.#isOpen) return {};
    if (this.#place) return { group: this.#place };
    return this.#words ? { groups: this.#words } : {};
  }

  opened() {
    this.#isOpen = true;
    this.#wait();
    this.#draw();
  }

  closed() {
    this.#isOpen = false;
    this.#told.clear();
    clearTimeout(this.#patience);
  }

  /** @param wasMoved - from the list to a group, or back */
  at(address, wasMoved) {
    const before = this.#place;
    this.#place = placeOf(address);
    this.#list.hidden = this.#place !== undefined;
    this.#detail.element.hidden = this.#place === undefined;
    if (this.#place) return this.#detail.open(this.#place, wasMoved);
    if (!wasMoved) return;
    this.#wait();
    this.#draw();
    // To where one was.
    const links = [...this.#table.element.querySelectorAll("tbody a")];
    links.find((link) => link.getAttribute("href") === addressOf(before))?.focus();
  }

  show({ cluster }) {
    this.#busiest = cluster.groups;
    const there = cluster.nodes.filter(({ state }) => state === "fresh" || state === "stale");
    this.#here = new Set(there.map(({ node }) => node));
    this.#told.keep(this.#here);
    this.#detail.show(new Map(cluster.nodes.map((node) => [node.node, nodeName(node)])), this.#here);
    if (this.#isOpen && !this.#place) this.#draw();
  }

  /** A node has looked for groups. */
  found({ node, words, ...list }) {
    if (words !== this.#words.toLowerCase()) return;
    this.#told.set(node, list);
    if (this.#isOpen && !this.#place) this.#draw();
  }

  /** A node tells of one group. */
  told(group) {
    if (group.layer === this.#place?.layer && group.group === this.#place.group) this.#detail.told(group);
  }

  #find() {
    const words = this.#field.value.trim();
    if (words === this.#words) return;
    this.#words = words;
    this.#told.clear();
    this.#wait();
    this.#draw();
    this.#app.wish();
  }

  /** Nodes answer each on its own, and some not at all. */
  #wait() {
    clearTimeout(this.#patience);
    this.#isPatient = true;
    this.#patience = setTimeout(() => {
      this.#isPatient = false;
      this.#draw();
    }, PATIENCE_MS);
  }

  #draw() {
    if (!this.#words) {
      say(this.#title, "Busiest groups");
      say(this.#summary, "by members and messages, of what each node counts as its busiest");
      say(this.#emptyTitle, "No group has a member");
      say(this.#emptyHint, "A group is there as soon as a consumer joins it.");
      this.#table.show(this.#busiest.map((group) => ({ ...group, key: `${group.layer} ${group.group}` })));
      return;
    }
    const { groups, isCut, least } = sumOfLists(this.#told.all, this.#words);
    const isLooking =
      this.#told.size === 0 || (this.#isPatient && groups.length === 0 && this.#told.size < this.#here.size);
    say(this.#title, `Groups with “${this.#words}”`);
    say(this.#summary, isLooking ? "Looking…" : summaryOf(groups.length, isCut, least, this.#told.size));
    // What was found before stays until something else is.
    if (isLooking) return;
    say(this.#emptyTitle, "No group has these words in its name");
    say(this.#emptyHint, "Only groups that somebody is in, or that something is sent to, can be found.");
    this.#table.show(groups);
  }
}

/** `#groups/room.den`, and `#groups/news/room.den` where that is not on the layer `default`. */
function addressOf({ layer, group }) {
  const parts = layer === "default" ? [group] : [layer, group];
  return `#groups/${parts.map(encodeURIComponent).join("/")}`;
}

function placeOf(address) {
  try {
    const parts = address.split("/").map(decodeURIComponent);
    const [layer, group] = parts.length === 2 ? parts : ["default", ...parts];
    return parts.length <= 2 && layer && NAME.test(group) ? { layer, group } : undefined;
  } catch {
    return undefined;
  }
}

function summaryOf(shown, isCut, least, nodes) {
  if (shown === 0) return "none";
  if (!isCut) return shown === 1 ? "1 group" : `${number(shown)} groups`;
  return `the first ${number(shown)} of ${nodes > 1 ? "at least " : ""}${number(least)}`;
}
