// The dashboard's page: one connection, seven views, one of them shown.

import { below } from "./base.js";
import { Connections } from "./connections.js";
import { ask, toast } from "./dialogs.js";
import { create, say, sayOrHide } from "./dom.js";
import { clock, nodeName } from "./format.js";
import { Groups } from "./groups.js";
import { Nodes } from "./nodes.js";
import { Overview } from "./overview.js";
import { Routes } from "./routes.js";
import { Connection, session } from "./socket.js";
import { Tail } from "./tail.js";
import { Tasks } from "./tasks.js";

const LABELS = {
  connecting: "Connecting…",
  live: "Live",
  silent: "No answer",
  reconnecting: "Reconnecting…",
  out: "Logged out",
  refused: "Refused",
};
const MAX_POINTS = 3_600;
/** Periods without a word after which the node that serves this page is taken for hung; how long at least. */
const SILENT_PERIODS = 3;
const SILENT_MS = 5_000;

const main = document.getElementById("main");
const banner = document.getElementById("banner");

class App {
  #connection = new Connection((change) => this.#stateIs(change));
  #views;
  #shown = "";
  /** What is open in the view that is shown, as it stands in the address. */
  #place = "";
  #state = { cluster: undefined, points: [] };
  #isOld = false;
  #isSilent = false;
  #heardAt = 0;
  #hello = {};
  #watch = 0;
  #cluster = new Pieces(["nodes", "groups", "routes", "causes"]);
  #tasks = new Pieces(["queues", "workers", "schedules"]);

  constructor() {
    this.#views = new Map([
      ["overview", new Overview()],
      ["nodes", new Nodes()],
      ["connections", new Connections(this)],
      ["groups", new Groups(this)],
      ["tasks", new Tasks(this)],
      ["signals", new Tail(this)],
      ["routes", new Routes()],
    ]);
    addEventListener("hashchange", () => this.#open(location.hash.slice(1)));
    // What is not seen need not be told of.
    document.addEventListener("visibilitychange", () => this.wish());
    document.getElementById("skip").addEventListener("click", (event) => {
      event.preventDefault();
      main.focus();
    });
    document.getElementById("notice-open").addEventListener("click", () => this.#askForNotice());
  }

  async begin() {
    const found = await session();
    if (!found) return location.reload();
    const logout = document.getElementById("logout");
    logout.hidden = !found.hasPassword;
    logout.addEventListener("click", () => this.#logout());
    await this.#connection.open({
      hello: (hello) => this.#begin(hello),
      points: ({ points }) => this.#past(points),
      cluster: (piece) => this.#cluster.add(piece, (cluster) => this.#heard(cluster)),
      tasks: (piece) => this.#tasks.add(piece, (overview) => this.#views.get("tasks").told(overview)),
      tail: (lines) => this.#views.get("signals").told(lines),
      connections: (list) => this.#views.get("connections").told(list),
      groups: (list) => this.#views.get("groups").found(list),
      group: (group) => this.#views.get("groups").told(group),
    });
  }

  /** Does something; rejects with words if it was not done. */
  act(action, target, more = {}) {
    return this.#connection.ask("act", { ...more, action, target });
  }

  /** `act`, and a word of it at the edge of the page. */
  do(action, target, more, done) {
    this.act(action, target, more).then(
      () => toast(done),
      (failure) => toast(failure.message, "bad"),
    );
  }

  ask(event, payload) {
    return this.#connection.ask(event, payload);
  }

  /** Says what the open view wants to be told beyond the reports. */
  wish() {
    if (!this.#connection.isLive) return;
    const wish = document.hidden ? {} : (this.#views.get(this.#shown)?.wish ?? {});
    this.ask("wish", wish).catch(() => {});
  }

  #begin(hello) {
    this.#hello = hello;
    this.#expect();
    document.querySelector('[data-view="tasks"]').hidden = !hello.hasTasks;
    this.#views.get("signals").begin(hello.signals);
  }

  /** A node that hangs does not say that it hangs; nor does a network that has swallowed a connection. */
  #expect() {
    clearInterval(this.#watch);
    const most = Math.max(SILENT_PERIODS * this.#hello.reportMs, SILENT_MS);
    this.#watch = setInterval(() => {
      if (this.#connection.isLive && !this.#isSilent && Date.now() - this.#heardAt > most && this.#heardAt)
        this.#stateIs({ state: "silent" });
    }, SILENT_MS / 5);
  }

  /** A reload, or another node: what each of them knows of the past is put together. */
  #past(points) {
    const known = new Map([...this.#state.points, ...points].map((point) => [point.at, point]));
    this.#state.points = [...known.values()].sort((a, b) => a.at - b.at).slice(-MAX_POINTS);
  }

  #heard(cluster) {
    document.getElementById("waiting")?.remove();
    main.setAttribute("aria-busy", "false");
    this.#heardAt = Date.now();
    if (this.#isSilent) this.#stateIs({ state: "live" });
    const last = this.#state.points.at(-1)?.at ?? 0;
    if (cluster.point.at > last)
      this.#state.points = [...this.#state.points, cluster.point].slice(-MAX_POINTS);
    this.#state.cluster = cluster;
    if (!this.#shown) this.#open(location.hash.slice(1));
    for (const view of this.#views.values()) view.show?.(this.#state);
    this.#warn();
  }

  /** @param hash - the name of a view; after a slash what is open in it */
  #open(hash) {
    const [name, ...rest] = hash.split("/");
    const isThere = this.#views.has(name) && (name !== "tasks" || this.#hello.hasTasks);
    const wanted = isThere ? name : "overview";
    const place = isThere ? rest.join("/") : "";
    const isOther = wanted !== this.#shown;
    if (!isOther && place === this.#place) return;
    const view = this.#views.get(wanted);
    if (isOther) {
      this.#views.get(this.#shown)?.closed?.();
      main.replaceChildren(view.element);
    }
    this.#shown = wanted;
    this.#place = place;
    scrollTo(0, 0);
    view.at?.(place, !isOther);
    for (const tab of document.querySelectorAll(".tabs a")) {
      if (tab.dataset.view === wanted) {
        tab.setAttribute("aria-current", "page");
        document.title = `${[view.title, tab.textContent].filter(Boolean).join(" · ")} · Sluice dashboard`;
        tab.scrollIntoView({ block: "nearest", inline: "center" });
      } else tab.removeAttribute("aria-current");
    }
    if (isOther) view.opened?.();
    if (this.#state.cluster) view.show?.(this.#state);
    this.wish();
  }

  #stateIs({ state, reason }) {
    const element = document.getElementById("state");
    element.dataset.state = state;
    say(element, LABELS[state]);
    const wasSilent = this.#isSilent;
    this.#isSilent = state === "silent";
    this.#isOld = state !== "live";
    main.classList.toggle("old", this.#isOld && this.#heardAt > 0);
    if (state === "out") return location.reload();
    if (state === "live" && !wasSilent) {
      this.#views.get(this.#shown)?.opened?.();
      this.wish();
    }
    this.#warn(reason);
  }

  #warn(reason) {
    const nodes = this.#state.cluster?.nodes ?? [];
    const silent = nodes.filter(({ state }) => state === "stale" || state === "gone");
    const alone = nodes.filter(({ state, isDegraded }) => state === "fresh" && isDegraded);
    const names = (list) =>
      list.slice(0, 3).map(nodeName).join(", ") + (list.length > 3 ? ` and ${list.length - 3} more` : "");
    const words = [];
    if (this.#isSilent) {
      words.push(
        `The node that serves this page says nothing any more. What you see was true at ${clock(this.#heardAt)}.`,
      );
    } else if (this.#isOld && this.#heardAt) {
      words.push(
        `The connection is lost${reason ? ` (${reason})` : ""}. What you see was true at ${clock(this.#heardAt)}.`,
      );
    } else if (this.#isOld && reason) words.push(`${reason}.`);
    if (!this.#isOld && silent.length > 0) {
      words.push(
        `${silent.length === 1 ? "A node does" : `${silent.length} nodes do`} not report: ${names(silent)}.`,
      );
    }
    if (!this.#isOld && alone.length > 0) {
      words.push(
        `${alone.length === 1 ? "A node" : `${alone.length} nodes`} cannot reach the others: ${names(alone)}.`,
      );
    }
    sayOrHide(banner, words.join(" "));
    banner.dataset.tone = this.#isOld ? "wait" : "bad";
  }

  #askForNotice() {
    const text = create("textarea", {
      rows: 3,
      maxlength: 500,
      "aria-label": "The notice",
      "data-testid": "notice-text",
      required: "",
    });
    ask({
      title: "Tell everybody",
      words:
        "Each connected client is sent these words, as the event sluice.notice, once and on all nodes. What it shows of them is up to your pages.",
      fields: [text],
      yes: "Send",
      tone: "plain",
      act: () => {
        if (!text.value.trim()) throw new Error("Type the words first.");
        return this.act("send notice", text.value.trim());
      },
      done: "The notice was sent.",
    });
    text.focus();
  }

  async #logout() {
    const found = await session().catch(() => null);
    this.#connection.close();
    if (found)
      await fetch(below("logout"), { method: "POST", headers: { "Dashboard-Token": found.token } }).catch(
        () => {},
      );
    location.reload();
  }
}

/** Lists that come in several messages. */
class Pieces {
  #names;
  #lists = {};

  constructor(names) {
    this.#names = names;
  }

  /** Calls `whole` when the last one is there. */
  add(piece, whole) {
    for (const name of this.#names) {
      this.#lists[name] = piece.part === 0 ? piece[name] : [...this.#lists[name], ...piece[name]];
    }
    if (piece.isLast) whole({ ...piece, ...this.#lists });
  }
}

await new App().begin();
