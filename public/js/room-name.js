// A room's name is what stands in its address: ASCII letters, digits, "-", "_" and ".", 1 to 60 of them.

const MAX_LENGTH = 60;

export function isRoomName(name) {
  // A browser resolves "." and ".." away before it asks for the page, so no address can hold them.
  return /^[A-Za-z0-9._-]{1,60}$/.test(name) && !/^\.{1,2}$/.test(name);
}

/** The room of an address such as `/rooms/team-standup`, or null when it names none. */
export function roomOfPath(path) {
  const [, folder, segment = ""] = path.split("/");
  try {
    const name = decodeURIComponent(segment);
    return folder === "rooms" && isRoomName(name) ? name : null;
  } catch {
    return null; // a stray "%"
  }
}

export function pathOfRoom(name) {
  return `/rooms/${encodeURIComponent(name)}`;
}

/**
 * The room someone means who typed this: a valid name stays as it is, a pasted link gives its room, anything
 * else is brought as near as possible ("Café talk!" is `Cafe-talk`). "" when nothing usable remains.
 */
export function toRoomName(typed) {
  const text = typed.trim();
  if (isRoomName(text)) return text;
  const linked = /\/rooms\/([^/?#\s]+)/.exec(text)?.[1];
  if (linked && isRoomName(linked)) return linked;
  const ascii = text.normalize("NFKD").replace(/\p{M}+/gu, "");
  const dashed = ascii.replace(/[^A-Za-z0-9._-]+/g, "-");
  return trimEnds(trimEnds(dashed).slice(0, MAX_LENGTH));
}

function trimEnds(name) {
  return name.replace(/^[-.]+/, "").replace(/[-.]+$/, "");
}
