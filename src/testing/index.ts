export type { BackplaneCluster, ExamCase } from "./backplane-exam.ts";
export { backplaneExam } from "./backplane-exam.ts";
export type { BrokerCluster } from "./broker-exam.ts";
export { brokerExam } from "./broker-exam.ts";
export type { HistoryBounds, HistoryCluster } from "./history-exam.ts";
export { historyExam } from "./history-exam.ts";
export type { LimitCluster } from "./limit-exam.ts";
export { limitExam } from "./limit-exam.ts";
export type { LiveServerOptions, StockClient } from "./live-server.ts";
export { LiveServer } from "./live-server.ts";
export { matchers, type SluiceMatchers } from "./matchers.ts";
export type { PageSocket } from "./page-socket.ts";
export type { PresenceCluster } from "./presence-exam.ts";
export { presenceExam } from "./presence-exam.ts";
export type { Entry, ReceivedEvent, TestClientOptions } from "./test-client.ts";
export { TestClient, untilIdle } from "./test-client.ts";
export type {
  ClusterBacking,
  LayerBacking,
  NodeRecipe,
  TestClusterOptions,
  TestNode,
} from "./test-cluster.ts";
export { TestCluster } from "./test-cluster.ts";
