export type { BackplaneCluster, ExamCase } from "./backplane-exam.ts";
export { backplaneExam } from "./backplane-exam.ts";
export type { HistoryCluster, HistoryTtls } from "./history-exam.ts";
export { historyExam } from "./history-exam.ts";
export type { PresenceCluster } from "./presence-exam.ts";
export { presenceExam } from "./presence-exam.ts";
export type { Entry, TestClientOptions } from "./test-client.ts";
export { TestClient, untilIdle } from "./test-client.ts";
