/** Lines of Prometheus' text format, by name with labels. Throws for a line that is none. */
export function samplesOf(text: string): ReadonlyMap<string, number> {
  const samples = new Map<string, number>();
  for (const line of text.split("\n")) {
    if (line === "" || /^# (HELP|TYPE) [a-z_:0-9]+ /.test(line)) continue;
    const found = /^([a-zA-Z_:][a-zA-Z0-9_:]*(?:\{.*\})?) (\S+)$/.exec(line);
    if (found === null) throw new Error(`no line of a scrape: ${line}`);
    const [, name, value] = found as unknown as [string, string, string];
    if (samples.has(name)) throw new Error(`told twice: ${name}`);
    samples.set(name, value === "Nan" ? Number.NaN : Number(value));
  }
  return samples;
}
