/** Without the DOM's types, React's declare elements that have nothing; this is what tests do with them in pages. */
interface Element {
  readonly textContent: string | null;
  getAttribute(name: string): string | null;
  querySelector(selector: string): Element | null;
  scrollTo(x: number, y: number): void;
}
