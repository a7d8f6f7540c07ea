// The name a person goes by, asked for once and kept in this browser.

const KEY = "sluice.name";
const MAX_LENGTH = 40;

/** The name without what can't be seen, or null when nothing visible is left or it is too long. */
export function cleanName(typed) {
  // Control characters break lines; direction overrides would turn the text around the name, too.
  const name = typed
    .normalize("NFC")
    .replace(/[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]+/gu, " ")
    .trim();
  const visible = /[\p{L}\p{N}\p{P}\p{S}]/u.test(name);
  return visible && name.length <= MAX_LENGTH ? name : null;
}

export function storedName() {
  try {
    return cleanName(localStorage.getItem(KEY) ?? "");
  } catch {
    return null; // storage is switched off: the name lasts as long as the page
  }
}

export function storeName(name) {
  try {
    localStorage.setItem(KEY, name);
  } catch {
    // As above: not kept, still used.
  }
}
