/** Tells the parent what this process has cost until now, and ends it. */
export function tellStart(): void {
  const { user, system } = process.cpuUsage();
  process.stdout.write(
    JSON.stringify({ cpuMs: (user + system) / 1_000, rssBytes: process.memoryUsage.rss() }),
    () => process.exit(),
  );
}
