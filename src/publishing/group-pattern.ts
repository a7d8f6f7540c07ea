const LONGEST = 99;
const SEGMENT = /^(?:\*|[A-Za-z0-9_-]+)$/;

/**
 * Which groups a key may publish to: `chat.lobby` is that group alone, in `chat.*` the star stands for
 * one segment (never for none, never for two). Segments are what dots separate.
 */
export class GroupPattern {
  readonly source: string;
  readonly #segments: readonly string[];

  /** @throws Error that says what is wrong with the pattern */
  constructor(source: string) {
    this.source = source;
    this.#segments = source.split(".");
    if (source.length > LONGEST || !this.#segments.every((segment) => SEGMENT.test(segment))) {
      throw new Error(
        'a pattern of groups is segments with dots between them, each of letters, digits, "-" and "_", or a "*" that stands for one whole segment: "chat.*", "user.*.orders"',
      );
    }
    if (this.#segments.length > 1 && this.#segments[0] === "sluice") {
      throw new Error('groups that begin with "sluice." belong to the framework');
    }
  }

  matches(group: string): boolean {
    if (group.length > LONGEST) return false;
    const segments = group.split(".");
    return (
      segments.length === this.#segments.length &&
      this.#segments.every((ours, i) => (ours === "*" ? segments[i] !== "" : segments[i] === ours))
    );
  }
}
