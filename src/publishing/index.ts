export { createPublishingKey, type PublishingKey, parsePublishingKeys } from "./keys.ts";
export { type PublishingOptions, type PublishingSettings, publishing } from "./publishing.ts";
