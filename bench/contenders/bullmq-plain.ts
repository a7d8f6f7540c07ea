/** No job has a priority. */
import { serveBullMq } from "./bullmq-queue.ts";

serveBullMq(undefined);
