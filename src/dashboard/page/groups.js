// The busiest groups, and who is in those that keep presence.

import { ask } from "./dialogs.js";
import { button, create, Table } from "./dom.js";
import { number, rate } from "./format.js";

const SHOWN_USERS = 8;

export class Groups {
  element = create("div", { class: "view" });
  #table;

  constructor(app) {
    this.#table = new Table({
      label: "The busiest groups",
      testId: "groups",
      empty: [
        create("p", { class: "empty-title" }, "No group has a member"),
        create("p", {}, "A group is there as soon as a consumer joins it."),
      ],
      columns: [
        {
          label: "Group",
          class: "mono main",
          text: ({ layer, group }) => (layer === "default" ? group : `${layer}: ${group}`),
        },
        { label: "Members", class: "figure", text: ({ members }) => number(members) },
        { label: "Messages per second", class: "figure", text: ({ sentPerSecond }) => rate(sentPerSecond) },
        { label: "Nodes", class: "figure", text: ({ nodes }) => number(nodes) },
        {
          label: "Present",
          make: () => create("div", { class: "people" }),
          fill: (element, { present, users = [] }) => {
            const words = JSON.stringify([present, users]);
            if (element.dataset.shown === words) return;
            element.dataset.shown = words;
            if (present === undefined) return element.replaceChildren("–");
            const more = present - Math.min(users.length, SHOWN_USERS);
            element.replaceChildren(
              create("b", {}, present === 1 ? "1 user" : `${number(present)} users`),
              ...users.slice(0, SHOWN_USERS).map((user) =>
                button(user, () => disconnectUser(app, user), {
                  class: "person",
                  title: `Disconnect ${user}`,
                  "aria-label": `Disconnect ${user}`,
                }),
              ),
              ...(more > 0 && users.length > 0
                ? [create("span", { class: "muted" }, `and ${number(more)} more`)]
                : []),
            );
          },
        },
      ],
    });
    this.element.append(
      create("h1", { class: "hidden-text" }, "Groups"),
      create(
        "section",
        { class: "card" },
        create(
          "header",
          { class: "card-head" },
          create("h2", {}, "Busiest groups"),
          create("p", { class: "muted" }, "by members and messages, of what each node counts as its busiest"),
        ),
        this.#table.element,
      ),
    );
  }

  show({ cluster }) {
    this.#table.show(cluster.groups.map((group) => ({ ...group, key: `${group.layer} ${group.group}` })));
  }
}

/** Asks, and ends all connections of a user. */
export function disconnectUser(app, user) {
  const mayReturn = create("input", { type: "checkbox" });
  ask({
    title: `Disconnect ${user}?`,
    words: [
      "All connections of this user end, on all nodes that can be reached.",
      "Their clients are told not to come back by themselves, unless you let them.",
    ],
    fields: [create("label", { class: "check" }, mayReturn, "Their clients may come back at once")],
    yes: "Disconnect",
    act: () => app.act("disconnect user", user, { mayReturn: mayReturn.checked }),
    done: `${user} was disconnected.`,
  });
}
