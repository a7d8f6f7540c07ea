/** What a process needs besides its clients. */
const RESERVE = 100;

/**
 * Each server and each load generator has a file open per client. Node raises its own limit as far as it
 * may (`ulimit -Hn`); when that is too low, it is better to know before.
 */
export function checkFileLimit(clients: number): void {
  const report = process.report.getReport() as unknown as {
    readonly userLimits?: { readonly open_files?: { readonly hard: number | string } };
  };
  const limit = Number(report.userLimits?.open_files?.hard ?? Number.POSITIVE_INFINITY);
  if (limit < clients + RESERVE) {
    throw new Error(`${clients} clients need ${clients + RESERVE} open files; "ulimit -Hn" says ${limit}`);
  }
}
