import { exportRoom } from "../tasks/export-room.ts";
import { nightly, statistics } from "../tasks/statistics.ts";

/** What is done in the background: for `new Tasks({ ...tasks, ...work })`. */
export const work = { tasks: [exportRoom, statistics], schedules: [nightly] };
