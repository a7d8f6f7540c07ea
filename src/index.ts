/** The face of the core: what applications import from `sluice`. */
export { AddressBuckets } from "./address-buckets.ts";
export { addressKey, reportedAddress } from "./address-key.ts";
export type {
  Application,
  ApplicationOptions,
  ApplicationPart,
  AskingClient,
  Notice,
  PartContext,
  RunningConsumer,
} from "./application.ts";
export { createApplication } from "./application.ts";
export { type Clock, type ClockTimer, ManualClock, realClock } from "./clock.ts";
export type {
  AskOptions,
  ConsumerClass,
  ConsumerContext,
  ConsumerTypes,
  EmitOptions,
  EventEntry,
  EventTable,
  MessageHandlers,
  ReceivesIn as ClientEvents,
  SendsIn as ServerEvents,
} from "./consumer/consumer.ts";
export { Consumer, event } from "./consumer/consumer.ts";
export type { PayloadCodec } from "./consumer/handlers.ts";
export { messageTable, validateLater as validate } from "./consumer/handlers.ts";
export type { Converter, Converters } from "./converters.ts";
export {
  AskTimeout,
  ChannelFull,
  ClientError,
  CloseCode,
  ConfigurationError,
  ConnectionClosed,
  ConnectionDenied,
  deny,
  Faults,
  InvalidMessage,
  InvalidName,
  type Issue,
  isForClient,
  isRetryable,
  JoinRefused,
  LayerUnavailable,
  type LimitName,
  MessageTooLarge,
  NoHandler,
  RateLimited,
  RouteNotFound,
  SluiceError,
  statusOf,
  thrownText,
  Unencodable,
  type Verdict,
  verdictOf,
} from "./errors.ts";
export type {
  Answered,
  AuditFact,
  ConnectionFact,
  DropCause,
  Facts,
  GapReason,
  LimitFact,
  UnopenedFact,
} from "./facts.ts";
export { type Gatherable, type Gathered, type GatherOptions, gather } from "./gather.ts";
export type { ChannelLayer, SendOptions } from "./layer/channel-layer.ts";
export type {
  GroupPolicies,
  GroupPolicy,
  HistoryPolicy,
  MayJoin,
  PresencePolicy,
} from "./layer/group-policy.ts";
export type { History, HistoryMessage, HistoryOptions } from "./layer/history-reading.ts";
export type {
  Appended,
  AppendOptions,
  HistoryStore,
  LogEntry,
  LogSlice,
  Position,
} from "./layer/history-store.ts";
export type { LimitStore, Rate, Taken } from "./layer/limit-store.ts";
export { type Delay, MemoryBackplane, MemoryHub } from "./layer/memory-backplane.ts";
export { MemoryHistory, MemoryLogs, type MemoryLogsOptions } from "./layer/memory-history.ts";
export { MemoryLimits, MemoryLimitsHub } from "./layer/memory-limits.ts";
export { MemoryPresence, MemoryPresenceHub } from "./layer/memory-presence.ts";
export type {
  PresenceChange,
  PresenceList,
  PresenceListener,
  PresenceLog,
  PresenceStore,
  PresentUser as StoredUser,
  Statement,
} from "./layer/presence-store.ts";
export type { PresentUser } from "./layer/presence-words.ts";
export type {
  Added,
  BrokerListener,
  ChildOutcome,
  ConsumeOptions,
  Consumption,
  Delivery,
  JobFollower,
  JobHandler,
  JobOutcome,
  JobPriority,
  JobRecord,
  JobState,
  NewJob,
  QueueCounts,
  SeenWorker,
  TaskBroker,
  WorkerReport,
} from "./layer/task-broker.ts";
export type { LayerOptions } from "./layers.ts";
export { createLogger, type Logger, type LogOptions, loggable, logSignals } from "./logger.ts";
export { type AddedBy, type MarkedMiddleware, mark, type Present } from "./marks.ts";
export { isGroupName, nearest, printable } from "./names.ts";
export { type Given, resolveOptions } from "./options.ts";
export { Origins } from "./origins.ts";
export type { ParamsOf } from "./pattern.ts";
export { decodePayload, encodePayload } from "./payload.ts";
export { peer, peerNow } from "./peer.ts";
export type {
  BackplaneReadings,
  BusyGroup,
  Counts,
  LayerReadings,
  PartReadings,
  Readings,
  ServerReadings,
  SpreadReading,
  TaskReadings,
} from "./readings.ts";
export type { RouteEntry, RouteOptions } from "./router.ts";
export { http, include, route, sse } from "./router.ts";
export { isSealed, type Seal, Unopened } from "./sealing.ts";
export { isSameSignature, usableSecrets } from "./secrets.ts";
export type { Outcome, Receiver } from "./signals.ts";
export { Signal } from "./signals.ts";
export { Kinds, PERIODS, Spread, Spreads } from "./tally.ts";
export { TokenBucket } from "./token-bucket.ts";
export {
  carrierOf,
  type Delivering,
  type Handling,
  type Sending,
  type TraceCarrier,
  type TraceOrigin,
  type Tracer,
} from "./tracer.ts";
export type * from "./types.ts";
export { within } from "./within.ts";
