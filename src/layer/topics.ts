/** What the layer's topics on the backplane are called. */

/** A topic that every node hears. */
export const ALL_NODES = "nodes";
const GROUP = "group.";
const NODE = "node.";

export function groupTopic(group: string): string {
  return GROUP + group;
}

export function nodeTopic(node: string): string {
  return NODE + node;
}

export function isGroupTopic(topic: string): boolean {
  return topic.startsWith(GROUP);
}

export function isNodeTopic(topic: string): boolean {
  return topic.startsWith(NODE);
}

/** The group or node that a topic is about. */
export function targetOf(topic: string): string {
  return topic.slice(topic.indexOf(".") + 1);
}
