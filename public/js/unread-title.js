/** Counts in the tab's title what came while nobody was looking: `(3) team · Sluice chat`. */
export class UnreadTitle {
  #title;
  #unread = 0;

  constructor(title) {
    this.#title = title;
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) return;
      this.#unread = 0;
      this.#show();
    });
    this.#show();
  }

  count() {
    if (!document.hidden) return;
    this.#unread++;
    this.#show();
  }

  #show() {
    document.title = this.#unread ? `(${this.#unread}) ${this.#title}` : this.#title;
  }
}
