// Older messages, when somebody scrolls up to the oldest that are shown.

const PAGE = 50;
const NEAR_PX = 240; // so near to the top is asking for more

export class Earlier {
  #recovery;
  #list;
  #box;
  #button;
  #isOwn;
  #isFollowing;
  #group = ""; // the room's; empty where it keeps no history
  #end = 0; // the offset before which there is nothing (for us)
  #looked = 0; // before that offset, without having been asked to
  #state = "idle"; // or loading, failed

  constructor({ recovery, list, box, button, isOwn, isFollowing }) {
    this.#recovery = recovery;
    this.#list = list;
    this.#box = box;
    this.#button = button;
    this.#isOwn = isOwn;
    this.#isFollowing = isFollowing;
    box.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    button.addEventListener("click", () => this.#load());
  }

  /** We are in a room that keeps history. */
  joined(group) {
    this.#group = group;
    this.#end = 0;
    this.#looked = 0;
    this.#enter("idle");
  }

  /** Lines have come or gone. */
  refresh() {
    const hasMore = this.#hasMore();
    // There may be nothing earlier but comings and goings: where nobody has to scroll, that is seen at once.
    const isAllInSight = this.#box.scrollHeight <= this.#box.clientHeight;
    if (hasMore && isAllInSight && this.#state === "idle" && this.#looked !== this.#list.oldest.offset) {
      this.#looked = this.#list.oldest.offset;
      this.#load();
    }
    this.#button.hidden = !hasMore || (isAllInSight && this.#state === "loading");
  }

  #scrolled() {
    const isAsking = this.#box.scrollTop < NEAR_PX && !this.#isFollowing();
    if (isAsking && this.#state === "idle" && this.#hasMore()) this.#load();
  }

  /** As far as one can tell without asking. */
  #hasMore() {
    const { oldest, isFull } = this.#list;
    if (!this.#group || !oldest || isFull) return false;
    const isThisLog = oldest.epoch === this.#recovery.position(this.#group)?.epoch;
    return isThisLog && oldest.offset > 1 && oldest.offset !== this.#end;
  }

  async #load() {
    if (this.#state === "loading" || !this.#hasMore()) return;
    this.#enter("loading");
    const { epoch, offset: before } = this.#list.oldest;
    try {
      const page = await this.#recovery.history(this.#group, { limit: PAGE, before });
      if (page.epoch !== epoch || this.#list.oldest?.offset !== before) return this.#enter("idle");
      const said = page.messages.filter(({ event }) => event === "message");
      this.#keepPlace(() => this.#list.prepend(said.map((entry) => this.#entryOf(entry, epoch))));
      if (!page.more) this.#end = this.#list.oldest?.offset;
      this.#enter("idle");
    } catch {
      this.#enter("failed");
    }
  }

  #entryOf({ payload: message, offset }, epoch) {
    return { message, own: this.#isOwn(message), position: { epoch, offset } };
  }

  /** What is in sight stays where it is: not all browsers see to that themselves, and none does at the very top. */
  #keepPlace(change) {
    const anchor = this.#button.nextElementSibling.querySelector(".message");
    const before = anchor?.getBoundingClientRect().top;
    this.#box.dataset.changing = "true";
    this.#box.setAttribute("aria-busy", "true"); // nothing new: not to be read out
    change();
    const moved = anchor ? anchor.getBoundingClientRect().top - before : 0;
    this.#box.scrollTop += moved;
    requestAnimationFrame(() => {
      delete this.#box.dataset.changing;
      this.#box.removeAttribute("aria-busy");
    });
  }

  #enter(state) {
    this.#state = state;
    this.#button.dataset.state = state;
    this.#button.textContent = {
      idle: "Show earlier messages",
      loading: "Loading earlier messages…",
      failed: "Could not be loaded. Try again",
    }[state];
    this.refresh();
  }
}
