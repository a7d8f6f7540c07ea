// Where this page is published, and what stands beside it: a proxy may have put a path before it.

const { path, socket } = document.documentElement.dataset;
const page = location.pathname.replace(/\/$/, "");

/** The namespace that the page talks to. */
export const namespace = path;
/** Where Socket.IO answers. */
export const socketPath = `${page.endsWith(path) ? page.slice(0, -path.length) : ""}${socket}`;

/** An address below the page's own: `session`, `login`, ... */
export function below(name) {
  return `${page}/${name}`;
}
