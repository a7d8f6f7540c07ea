import type { StorageArea } from "./types.ts";

/** Positions change with every event; they are written so often at most, and when the page goes away. */
const WRITE_AFTER_MS = 250;

/** Positions in a storage of the browser. Where that is full, or switched off, they last as long as the page. */
export class KeptPositions {
  readonly #area: StorageArea;
  readonly #key: string;
  readonly #current: () => unknown;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #write = () => this.write();

  constructor(area: StorageArea, key: string, current: () => unknown) {
    this.#area = area;
    this.#key = key;
    this.#current = current;
    page()?.addEventListener("pagehide", this.#write);
  }

  read(): unknown {
    try {
      return JSON.parse(this.#area.getItem(this.#key) ?? "[]");
    } catch {
      return [];
    }
  }

  writeSoon(): void {
    this.#timer ??= setTimeout(this.#write, WRITE_AFTER_MS);
  }

  write(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    try {
      this.#area.setItem(this.#key, JSON.stringify(this.#current()));
    } catch {
      // As above.
    }
  }

  stop(): void {
    page()?.removeEventListener("pagehide", this.#write);
    this.write();
  }
}

/** Undefined outside a browser. */
function page(): Pick<EventTarget, "addEventListener" | "removeEventListener"> | undefined {
  const scope = globalThis as Partial<Pick<EventTarget, "addEventListener" | "removeEventListener">>;
  return scope.addEventListener && scope.removeEventListener ? (scope as EventTarget) : undefined;
}
