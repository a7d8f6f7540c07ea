/** Every job has a priority, as ours have. */
import { serveBullMq } from "./bullmq-queue.ts";

serveBullMq(3);
