/** The page's program: the test says by `sluicePage` what is shown. */
import { createElement as h, StrictMode, startTransition } from "react";
import { flushSync } from "react-dom";
import { createRoot, hydrateRoot } from "react-dom/client";
import { recover } from "sluice/client";
import { io } from "socket.io-client";
import { Boundary, draws, Hasty, Heard, Here, page, Run, SocketProvider, State } from "./room.js";

const components = { Hasty, Heard, Here, Run, State };
const place = document.querySelector("#root");
/** Those that a provider has made. */
const opened = [];
let root;

/** A socket of its own connection, which remembers what it sent. */
function connect(namespace, auth, options = {}) {
  const socket = io(namespace, {
    auth,
    forceNew: true,
    transports: ["websocket"],
    reconnectionDelay: 20,
    ...options,
  });
  recover(socket);
  socket.sent = [];
  socket.onAnyOutgoing((event) => socket.sent.push(event));
  return socket;
}

/** How many listeners it has, whatever for. */
function listeners(socket) {
  const named = Object.values(socket._callbacks ?? {}).reduce((sum, all) => sum + all.length, 0);
  return named + socket.listenersAny().length;
}

globalThis.sluicePage = {
  connect,
  draws,
  listeners,
  opened,
  /** @param parts - `[component, props]`, each with a `key` */
  show(parts, { namespace = "/room", auth = {}, isStrict = true, isSync = true, socket } = {}) {
    root ??= createRoot(place);
    const shown = parts.map(([name, props]) => h(Boundary, { key: props.key }, h(components[name], props)));
    const open = () => {
      const made = connect(namespace, auth);
      opened.push(made);
      return made;
    };
    const provider = h(SocketProvider, socket === undefined ? { open } : { socket }, shown);
    const render = () => root.render(isStrict ? h(StrictMode, null, provider) : provider);
    if (isSync) flushSync(render);
    else startTransition(render);
  },
  /** Without a provider. */
  bare(name, props) {
    root ??= createRoot(place);
    root.render(h(Boundary, null, h(components[name], props)));
  },
  hydrate() {
    root = hydrateRoot(place, h(SocketProvider, { open: () => connect("/room", { user: "ann" }) }, page()));
  },
  leave() {
    root.unmount();
    root = undefined;
  },
};
