const TONES = 8; // as many as style.css has colours for

const letters = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/** A round initial whose colour follows from the id: two people with one name can be told apart. */
export function avatar({ id, name }) {
  const view = document.createElement("span");
  view.className = "avatar";
  view.dataset.tone = toneOf(id);
  view.setAttribute("aria-hidden", "true");
  const [first] = letters.segment(name.trim());
  view.textContent = (first?.segment ?? "?").toLocaleUpperCase();
  return view;
}

function toneOf(id) {
  let hash = 0;
  for (const character of id) hash = (hash * 31 + character.codePointAt(0)) >>> 0;
  return hash % TONES;
}
