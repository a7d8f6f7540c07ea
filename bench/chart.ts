/** Dots on a logarithmic scale, as SVG: costs of contenders differ by factors, and bars would hide the small ones. */

export interface Dot {
  readonly name: string;
  /** The middle half of what was measured, and its median. */
  readonly q1: number;
  readonly median: number;
  readonly q3: number;
  readonly isOurs: boolean;
}

const WIDTH = 760;
const NAMES_WIDTH = 290;
const VALUES_WIDTH = 80;
const ROW = 26;
const HEAD = 58;
const FOOT = 30;
const STEPS = [1, 2, 5];

const STYLE = `
  text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .title { font-weight: 600; font-size: 14px; }
  .faint { fill: #656d76; font-size: 11px; }
  .grid { stroke: #d0d7de; }
  .span { stroke: #8c959f; stroke-width: 3; }
  .dot { fill: #57606a; }
  .ours { fill: #0969da; font-weight: 600; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .faint { fill: #8b949e; }
    .grid { stroke: #30363d; }
    .span { stroke: #6e7681; }
    .dot { fill: #9da7b3; }
    .ours { fill: #58a6ff; }
  }`;

/** @param dots - with values above 0; others are left out */
export function chart(title: string, unit: string, dots: readonly Dot[], digits: number): string {
  const drawn = dots.filter(({ median }) => Number.isFinite(median) && median > 0);
  const ticks = ticksFor(
    drawn.flatMap(({ q1, median, q3 }) => [q1, median, q3]).filter((value) => value > 0),
  );
  const [low = 1, high = 10] = [ticks[0], ticks.at(-1)];
  const right = WIDTH - VALUES_WIDTH;
  const x = (value: number) => {
    const share = Math.log(Math.max(value, low) / low) / Math.log(high / low);
    return (NAMES_WIDTH + share * (right - NAMES_WIDTH)).toFixed(1);
  };
  const height = HEAD + drawn.length * ROW + FOOT;
  const bottom = height - FOOT;
  const grid = ticks.map(
    (tick) =>
      `<line class="grid" x1="${x(tick)}" x2="${x(tick)}" y1="${HEAD - 6}" y2="${bottom}"/>` +
      `<text class="faint" text-anchor="middle" x="${x(tick)}" y="${bottom + 16}">${tick.toLocaleString("en")}</text>`,
  );
  const rows = drawn.map(({ name, q1, median, q3, isOurs }, i) => {
    const y = HEAD + i * ROW + ROW / 2;
    const ours = isOurs ? " ours" : "";
    const value = median.toLocaleString("en", {
      minimumFractionDigits: digits,
      maximumFractionDigits: digits,
    });
    return [
      `<text class="name${ours}" text-anchor="end" x="${NAMES_WIDTH - 14}" y="${y + 4}">${escaped(name)}</text>`,
      `<line class="span" x1="${x(q1)}" x2="${x(q3)}" y1="${y}" y2="${y}"/>`,
      `<circle class="dot${ours}" cx="${x(median)}" cy="${y}" r="5"/>`,
      `<text class="value${ours}" text-anchor="end" x="${WIDTH - 10}" y="${y + 4}">${value}</text>`,
    ].join("");
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" role="img">`,
    `<title>${escaped(title)}</title><style>${STYLE}\n</style>`,
    `<text class="title" x="10" y="20">${escaped(title)}</text>`,
    `<text class="faint" x="10" y="38">${escaped(unit)}, logarithmic</text>`,
    ...grid,
    ...rows,
    "</svg>",
    "",
  ].join("\n");
}

/** 1, 2, 5, 10, ... around all values; of many only the powers of ten. */
export function ticksFor(values: readonly number[]): readonly number[] {
  const low = Math.min(...values, Number.MAX_VALUE);
  const high = Math.max(...values, Number.MIN_VALUE);
  if (low > high) return [1, 10];
  const all: number[] = [];
  for (let power = Math.floor(Math.log10(low)) - 1; power <= Math.ceil(Math.log10(high)) + 1; power += 1) {
    // A negative power of ten is not exact, a division is.
    for (const step of STEPS) all.push(power < 0 ? step / 10 ** -power : step * 10 ** power);
  }
  const first = all.findLastIndex((tick) => tick <= low);
  const last = all.findIndex((tick) => tick >= high);
  const around = all.slice(first, Math.max(last, first + 1) + 1);
  if (around.length <= 8) return around;
  const isPower = (tick: number) => Math.abs(Math.log10(tick) % 1) < 1e-9;
  return around.filter((tick, i) => i === 0 || i === around.length - 1 || isPower(tick));
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
