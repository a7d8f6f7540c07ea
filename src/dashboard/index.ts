/** `sluice/dashboard`: how all nodes stand, on a page; and what they report, for others who want to know. */
export type { ClusterGroup, ClusterNode, ClusterRoute, ClusterState, NodeState } from "./cluster.ts";
export { dashboard } from "./dashboard.ts";
export { type ObserveOptions, observe } from "./observe.ts";
export type { AllowDashboard, DashboardOptions, ShownSchedule, ShownTasks } from "./options.ts";
export type { NodeReport, ReportedGroup, ReportedRoute, ReportedTask } from "./report.ts";
