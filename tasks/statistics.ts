import { LayerUnavailable } from "sluice";
import { crontab, schedule, task } from "sluice/tasks";
import { type DiaryPage, dayOf } from "../consumers/diary.ts";
import { diaryGroup, STATISTICS } from "../routing/groups.ts";

/** Of one day, in UTC: what the lobby shows. */
export interface Statistics {
  readonly day: string;
  readonly rooms: number;
  readonly messages: number;
  /** Who has said something. */
  readonly people: number;
}

const DAY_MS = 24 * 3_600_000;
const PAGE = 100;

/** Counts yesterday, from what all nodes have written down. Doing it twice does no harm. */
export const statistics = task(
  "statistics",
  { retry: { attempts: 10, on: [LayerUnavailable] } },
  async (_: undefined, run): Promise<Statistics> => {
    const day = dayOf(Date.now() - DAY_MS);
    const [rooms, people] = [new Set<string>(), new Set<string>()];
    let messages = 0;
    let before: number | undefined;
    for (let more = true; more; ) {
      const read = await run.layer.history(diaryGroup(day), {
        limit: PAGE,
        ...(before !== undefined && { before }),
      });
      for (const { payload } of read.messages) {
        const page = payload as DiaryPage;
        messages += page.messages;
        for (const room of page.rooms) rooms.add(room);
        for (const person of page.people) people.add(person);
      }
      before = read.messages[0]?.offset;
      more = read.more && before !== undefined;
    }
    const counted: Statistics = { day, rooms: rooms.size, messages, people: people.size };
    await run.layer.groupEmit(STATISTICS, "statistics", counted);
    return counted;
  },
);

/** After midnight, when every node has written down the day's last minutes. */
export const nightly = schedule("statistics", crontab("15 0 * * *"), statistics, undefined, {
  missed: "once",
});
