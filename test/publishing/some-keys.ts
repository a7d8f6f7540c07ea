import { createPublishingKey, type PublishingKey } from "sluice/publishing";

const made = createPublishingKey();
export const { key } = made;
export const keys: readonly PublishingKey[] = [{ name: "billing", hash: made.hash, groups: ["chat.*"] }];
