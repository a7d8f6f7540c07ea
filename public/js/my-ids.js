// Under which ids this tab has spoken: each connection brings a new one, and what was said under the others,
// also before the page was loaded anew, stays mine.

const KEY = "sluice.mine";
const MAX_IDS = 100;

export class MyIds {
  #ids = new Set(stored());

  has(id) {
    return this.#ids.has(id);
  }

  add(id) {
    this.#ids.add(id);
    const last = [...this.#ids].slice(-MAX_IDS);
    this.#ids = new Set(last);
    try {
      sessionStorage.setItem(KEY, JSON.stringify(last));
    } catch {
      // Storage is switched off: they last as long as the page.
    }
  }
}

function stored() {
  try {
    const ids = JSON.parse(sessionStorage.getItem(KEY) ?? "[]");
    return Array.isArray(ids) ? ids : [];
  } catch {
    return [];
  }
}
