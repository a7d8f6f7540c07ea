// Text to nodes: http(s) addresses become links, everything else stays text. Nothing is ever parsed as HTML.

import { create } from "./dom.js";

const ADDRESS = /\bhttps?:\/\/[^\s<>"]+/gi;
const CLOSING = { ")": "(", "]": "[", "}": "{" };

/** A fragment of text nodes and `<a>` elements. */
export function linkify(text) {
  const fragment = document.createDocumentFragment();
  let end = 0;
  for (const match of text.matchAll(ADDRESS)) {
    const address = withoutTrailing(match[0]);
    if (!URL.canParse(address)) continue;
    fragment.append(text.slice(end, match.index), link(address));
    end = match.index + address.length;
  }
  fragment.append(text.slice(end));
  return fragment;
}

function link(address) {
  return create("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, address);
}

/**
 * The address without the punctuation of the sentence around it: "(see https://a.example/b)." links
 * `https://a.example/b`, while `https://a.example/b_(c)` keeps the bracket it opened itself.
 */
function withoutTrailing(address) {
  let end = address.length;
  for (; end > 0; end--) {
    const last = address[end - 1];
    const opening = CLOSING[last];
    if (opening ? isBalanced(address.slice(0, end), opening, last) : !/[.,;:!?'’”»…*]/.test(last)) break;
  }
  return address.slice(0, end);
}

function isBalanced(text, opening, closing) {
  return text.split(closing).length <= text.split(opening).length;
}
