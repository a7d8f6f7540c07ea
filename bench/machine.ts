import { cpus } from "node:os";

/** CPU time that all processes of the machine have used, in microseconds; exact to some 10 ms. */
export function machineCpuUs(): number {
  let ms = 0;
  for (const { times } of cpus()) ms += times.user + times.nice + times.sys + times.irq;
  return ms * 1000;
}

/** What the machine could have used in that time. */
export function machineCapacityUs(wallMs: number): number {
  return cpus().length * wallMs * 1000;
}
