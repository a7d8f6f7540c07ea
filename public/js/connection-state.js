const LABELS = {
  connecting: "Connecting…",
  live: "Live",
  reconnecting: "Reconnecting…",
  refused: "Refused.",
};

/** Says in the header how the connection is, and why when there is a reason. */
export function showState(element, { state, reason }) {
  element.dataset.state = state;
  element.textContent = reason ? `${LABELS[state]} ${asSentence(reason)}` : LABELS[state];
  element.title = element.textContent; // a phone may have no room for all of it
}

/** Says which of several nodes serves this page; the page hides it while none does. */
export function showNode(element, { name }) {
  element.textContent = `on ${name}`;
  element.title = `This page is served by the node ${name}`;
}

/** A server's reasons are words for programs, too: "the server is stopping". */
export function asSentence(reason) {
  const [first = "", ...rest] = reason;
  const sentence = first.toLocaleUpperCase() + rest.join("");
  return /[.!?…]$/.test(sentence) ? sentence : `${sentence}.`;
}
