/** The element with this id; a missing one is a mistake in the page, so it is said at once. */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`The page has no element with the id "${id}".`);
  return element;
}

/**
 * `create("p", { class: "hint" }, "some text", anotherNode)`. Strings become text nodes, never markup: this
 * is the only way anything a person typed gets into the page.
 */
export function create(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A button that runs `onClick`. */
export function button(label, onClick, attributes = {}) {
  const element = create("button", { type: "button", ...attributes }, label);
  element.addEventListener("click", onClick);
  return element;
}
