/** 32 letters and digits. `crypto.randomUUID` is there on secure pages only, and a demo on one's own network is none. */
export function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, "0"),
  ).join("");
}
