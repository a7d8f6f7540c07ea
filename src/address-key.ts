import { isIP, isIPv6 } from "node:net";

/** One client has a whole /64 of IPv6 addresses to choose from, so these are counted as one. */
export function addressKey(address: string): string {
  // The colon first: Node asks a long regular expression.
  if (!address.includes(":") || !isIPv6(address)) return address;
  const mapped = /^::ffff:([0-9.]+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  const [head = "", tail] = address.split("%")[0]?.split("::") ?? [];
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = tail === undefined ? 0 : 8 - left.length - right.length;
  const groups = [...left, ...Array<string>(Math.max(0, zeros)).fill("0"), ...right];
  return `${groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(":")}::/64`;
}

/**
 * What a proxy reports as an address, without the port that some add (Azure's Application Gateway, IIS:
 * `1.1.1.1:4711`, `[2001:db8::1]:4711`); undefined: it is none.
 */
export function reportedAddress(hop: string): string | undefined {
  const [, ipv6, ipv4] = /^(?:\[([^\]]*)\](?::\d{1,5})?|([\d.]+):\d{1,5})$/.exec(hop) ?? [];
  const address = ipv6 ?? ipv4 ?? hop;
  return isIP(address) === 0 ? undefined : address;
}
