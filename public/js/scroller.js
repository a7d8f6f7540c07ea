const NEAR_PX = 60; // so near to the end counts as reading the newest

/** Follows the newest line while the reader is there; else counts what they have not seen on a button. */
export class Scroller {
  #box;
  #button;
  #following = true;
  #lastTop = 0;
  #unseen = 0;

  constructor({ box, content, button }) {
    this.#box = box;
    this.#button = button;
    box.tabIndex = 0; // scrolls with the arrow keys, also where a browser doesn't do so by itself
    box.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    button.addEventListener("click", () => {
      this.toEnd();
      box.focus({ preventScroll: true }); // the button goes away: the keyboard must not fall off the page
    });
    // Covers every cause at once: a new line, a taller composer, a phone's keyboard, a turned screen.
    const sizes = new ResizeObserver(() => {
      if (this.#following) this.#jump();
    });
    sizes.observe(box);
    sizes.observe(content);
    this.#show();
  }

  get isFollowing() {
    return this.#following;
  }

  /** To the newest line, and from now on with it. */
  toEnd() {
    this.#following = true;
    this.#unseen = 0;
    this.#show();
    this.#jump();
  }

  /** A message came in. */
  count() {
    if (this.#following) return;
    this.#unseen++;
    this.#show();
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#box;
    const atEnd = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    // Only an upward move stops the following: lines may have come since the downward one was made.
    if (atEnd) this.#following = true;
    else if (scrollTop < this.#lastTop) this.#following = false;
    this.#lastTop = scrollTop;
    if (this.#following) this.#unseen = 0;
    this.#show();
  }

  #jump() {
    this.#box.scrollTop = this.#box.scrollHeight;
  }

  #show() {
    this.#box.dataset.following = this.#following;
    this.#button.hidden = this.#unseen === 0;
    this.#button.textContent = this.#unseen === 1 ? "1 new message" : `${this.#unseen} new messages`;
  }
}
