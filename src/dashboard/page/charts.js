// Charts over time, by uPlot; their colours are the page's.

import { button, create, say } from "./dom.js";
import uPlot from "./uPlot.esm.js";

const HEIGHT = 180;
const charts = new Set();
/** Between two marks of an axis. */
const SECONDS = [1, 5, 10, 30, 60, 120, 300, 600, 900, 1_800, 3_600];
/** Of what is counted. */
const WHOLE = Array.from({ length: 12 }, (_, power) => [1, 2, 5].map((step) => step * 10 ** power)).flat();
const STEPS = Array.from({ length: 13 }, (_, power) =>
  [1, 2, 5].map((step) => step * 10 ** (power - 1)),
).flat();

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const chart of charts) chart.redraw();
});

/** One chart: a title, its latest values, and lines over the last while. */
export class Chart {
  element;
  #series;
  #format;
  #isWhole;
  #box;
  #values;
  #plot;
  #data;
  #width = 0;

  /** @param series - `[{ label, color: "--accent", read(point) }]`; undefined is a gap */
  constructor({ title, series, format, testId, isWhole = false }) {
    this.#series = series;
    this.#format = format;
    this.#isWhole = isWhole;
    this.#box = create("div", { class: "plot" });
    this.#values = series.map(() => create("b"));
    const legend = series.map(({ label, color }, index) =>
      create("span", { class: "key", "data-color": color.slice(2) }, label, this.#values[index]),
    );
    this.element = create(
      "section",
      { class: "card chart", "data-testid": testId, "aria-label": title },
      create("header", {}, create("h2", {}, title), create("p", { class: "legend" }, ...legend)),
      this.#box,
    );
    charts.add(this);
    new ResizeObserver(([entry]) => this.#resize(Math.floor(entry.contentRect.width))).observe(this.#box);
  }

  show(points) {
    const times = points.map(({ at }) => at / 1_000);
    this.#data = [times, ...this.#series.map(({ read }) => points.map((point) => read(point) ?? null))];
    const last = points.at(-1);
    this.#series.forEach(({ read }, index) => {
      this.#say(index, last && read(last));
    });
    if (this.#plot) this.#plot.setData(this.#data);
    else this.#draw();
  }

  redraw() {
    this.#plot?.destroy();
    this.#plot = undefined;
    this.#draw();
  }

  #resize(width) {
    if (width === this.#width || width === 0) return;
    this.#width = width;
    if (this.#plot) this.#plot.setSize({ width, height: HEIGHT });
    else this.#draw();
  }

  #draw() {
    if (!this.#width || !this.#data) return;
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const axis = {
      stroke: colour("--muted"),
      grid: { stroke: colour("--line"), width: 1 },
      ticks: { show: false },
      font: `11px ${colour("--font")}`,
    };
    const format = this.#format;
    this.#plot = new uPlot(
      {
        width: this.#width,
        height: HEIGHT,
        padding: [8, 24, 0, 0],
        legend: { show: false },
        cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
        scales: { y: { range: (_plot, _least, most) => [0, Math.max(most * 1.15, 1)] } },
        axes: [
          { ...axis, space: 70, size: 28, incrs: SECONDS, values: (_plot, times) => times.map(shortTime) },
          {
            ...axis,
            // As wide as its longest label.
            size: (_plot, labels) =>
              Math.max(52, 18 + 6.5 * Math.max(0, ...(labels ?? []).map(({ length }) => length))),
            space: 36,
            incrs: this.#isWhole ? WHOLE : STEPS,
            values: (_plot, values) => values.map((value) => format(value)),
          },
        ],
        series: [
          {},
          ...this.#series.map(({ label, color, fill }) => ({
            label,
            stroke: colour(color),
            width: 1.6,
            points: { show: false },
            ...(fill ? { fill: `color-mix(in srgb, ${colour(color)} 14%, transparent)` } : {}),
          })),
        ],
        hooks: { setCursor: [(plot) => this.#point(plot.cursor.idx)] },
      },
      this.#data,
      this.#box,
    );
  }

  /** The values under the pointer, or the latest. */
  #point(index) {
    const at = index ?? this.#data[0].length - 1;
    this.#series.forEach((_, number) => {
      this.#say(number, this.#data[number + 1][at]);
    });
  }

  #say(number, value) {
    say(this.#values[number], (value ?? null) === null ? "–" : this.#format(value));
  }
}

const RANGES = [
  ["5 min", 300_000],
  ["15 min", 900_000],
  ["all", Number.POSITIVE_INFINITY],
];

/** Charts that show the same while; how long that is can be chosen. */
export class Charts {
  /** The choice. */
  element = create("div", { class: "segments", role: "group", "aria-label": "How far back" });
  #charts;
  #rangeMs = RANGES[1][1];
  #points = [];

  constructor(charts) {
    this.#charts = charts;
    for (const [label, ms] of RANGES) {
      const choose = button(label, () => this.#choose(ms, choose), {
        "aria-pressed": String(ms === this.#rangeMs),
      });
      this.element.append(choose);
    }
  }

  show(points) {
    this.#points = points;
    const end = points.at(-1)?.at ?? 0;
    const shown = points.filter(({ at }) => at >= end - this.#rangeMs);
    for (const chart of this.#charts) chart.show(shown);
  }

  #choose(ms, chosen) {
    this.#rangeMs = ms;
    for (const one of this.element.children) one.setAttribute("aria-pressed", String(one === chosen));
    this.show(this.#points);
  }
}

function shortTime(seconds) {
  const time = new Date(seconds * 1_000).toLocaleTimeString("en-GB");
  return time.endsWith(":00") ? time.slice(0, 5) : time;
}

const SVG = "http://www.w3.org/2000/svg";
const SPARKS = 60;

/** A small line without axes. */
export class Spark {
  element = document.createElementNS(SVG, "svg");
  #path = document.createElementNS(SVG, "path");
  #area = document.createElementNS(SVG, "path");
  #values = [];

  constructor() {
    this.element.setAttribute("class", "spark");
    this.element.setAttribute("viewBox", `0 0 ${SPARKS} 20`);
    this.element.setAttribute("preserveAspectRatio", "none");
    this.element.setAttribute("aria-hidden", "true");
    this.#path.setAttribute("vector-effect", "non-scaling-stroke");
    this.#area.setAttribute("class", "spark-area");
    this.element.append(this.#area, this.#path);
  }

  add(value) {
    this.#values = [...this.#values, value].slice(-SPARKS);
    const most = Math.max(1, ...this.#values);
    const step = SPARKS / (this.#values.length - 1);
    const points = this.#values.map(
      (one, i) => `${(i * step).toFixed(2)} ${(19 - (one / most) * 18).toFixed(1)}`,
    );
    if (points.length < 2) return;
    this.#path.setAttribute("d", `M${points.join("L")}`);
    this.#area.setAttribute("d", `M0 20L${points.join("L")}L${SPARKS} 20Z`);
  }
}
