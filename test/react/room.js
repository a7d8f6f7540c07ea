/** Components of a page that the tests look at, for browsers and for rendering on the server. */
import { Component, createElement as h, useLayoutEffect, useState } from "react";
import { createSocketHooks } from "sluice/react";

export const { SocketProvider, useConnection, useEvent, usePresence, useSocket, useTask } =
  createSocketHooks();

export const draws = { count: 0 };

export function State() {
  const { state, code, reason } = useConnection();
  return h("p", { "data-testid": "state" }, [state, code, reason].filter(Boolean).join(" "));
}

export function Heard({ name, prefix = "", event = "said" }) {
  const [texts, setTexts] = useState([]);
  useEvent(event, (payload, answer) => {
    if (payload === "break") throw new Error("a bug in a component");
    setTexts((before) => [...before, prefix + payload]);
    answer?.(`from ${name}`);
  });
  return h("p", { "data-testid": name }, texts.join(","));
}

/** An event comes as soon as it is there, before React has run what it calls effects. */
export function Hasty({ text }) {
  const socket = useSocket();
  useLayoutEffect(() => {
    if (socket !== undefined) queueMicrotask(() => socket.emitEvent(["said", text]));
  }, [socket, text]);
  return null;
}

export function Here({ name = "here", group = "room" }) {
  draws.count += 1;
  const { users, isCurrent } = usePresence(group);
  const names = [...users].map(([user, info]) => `${user}:${info?.name}`).sort();
  return h("p", { "data-testid": name }, `${isCurrent ? "now" : "before"} ${names.join(",")}`);
}

export function Run({ name, ticket }) {
  const status = useTask(ticket);
  const { state, progress, result, error } = status ?? {};
  const words = [state, progress && `${progress.done}/${progress.total}`, result, error?.code];
  return h("p", { "data-testid": name }, words.filter((word) => word !== undefined).join(" "));
}

/** Shows what a component below it has thrown. */
export class Boundary extends Component {
  state = { error: undefined };
  static getDerivedStateFromError(error) {
    return { error };
  }
  render() {
    const { error } = this.state;
    return error === undefined
      ? this.props.children
      : h("p", { "data-testid": "thrown" }, `${error.name}: ${error.message}`);
  }
}

/** What both sides draw. */
export const page = () => [
  h(State, { key: "state" }),
  h(Here, { key: "here" }),
  h(Run, { key: "run", name: "run" }),
];
