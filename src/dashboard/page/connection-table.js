// Connections in a table, and what ends them: one, or all of a user.

import { ask } from "./dialogs.js";
import { button, create, name, Table } from "./dom.js";
import { duration, number } from "./format.js";

/** Rows are connections with `key` and `node`; `nodeOf` says what people call a node. */
export function connectionTable(app, { label, testId, empty, nodeOf }) {
  return new Table({
    ...{ label, testId, empty },
    columns: [
      { label: "User", class: "main", text: ({ user }) => user || "nobody" },
      { label: "Namespace", class: "mono", text: ({ namespace }) => namespace },
      { label: "Address", class: "mono address", text: ({ address }) => address },
      { label: "Since", class: "figure", text: ({ ageMs }) => duration(ageMs) },
      { label: "Node", class: "wide-cell", text: ({ node }) => nodeOf(node) },
      {
        label: "",
        class: "actions",
        make: (row) =>
          create(
            "div",
            { class: "buttons" },
            button("Disconnect", () => disconnectConnection(app, row()), {
              class: "small-button danger",
              "data-testid": "disconnect",
            }),
            button("Disconnect user", () => disconnectUser(app, row().user), {
              class: "small-button",
            }),
          ),
        fill: (element, { user, namespace }) => {
          const [one, all] = element.children;
          name(one, `Disconnect ${user || "nobody"} at ${namespace}`);
          name(all, `Disconnect user ${user}`);
          all.hidden = !user;
        },
      },
    ],
  });
}

/** Users as buttons that disconnect them; `present` is how many there are, undefined where nobody counts. */
export function showPeople(app, element, { present, users = [] }, most) {
  const words = JSON.stringify([present, users]);
  if (element.dataset.shown === words) return;
  element.dataset.shown = words;
  if (present === undefined) return element.replaceChildren("–");
  const more = present - Math.min(users.length, most);
  element.replaceChildren(
    create("b", {}, present === 1 ? "1 user" : `${number(present)} users`),
    ...users.slice(0, most).map((user) =>
      button(user, () => disconnectUser(app, user), {
        class: "person",
        title: `Disconnect ${user}`,
        "aria-label": `Disconnect ${user}`,
      }),
    ),
    ...(more > 0 && users.length > 0 ? [create("span", { class: "muted" }, `and ${number(more)} more`)] : []),
  );
}

function disconnectConnection(app, { channel, namespace, user }) {
  const mayReturn = create("input", { type: "checkbox" });
  ask({
    title: "Disconnect this connection?",
    words: [
      `${user || "Somebody without a name"} at ${namespace}`,
      "Its client is told not to come back by itself, unless you let it.",
    ],
    fields: [create("label", { class: "check" }, mayReturn, "Its client may come back at once")],
    yes: "Disconnect",
    act: () => app.act("disconnect connection", channel, { mayReturn: mayReturn.checked }),
    done: "The connection was ended.",
  });
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
