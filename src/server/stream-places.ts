/**
 * How clients over Server-Sent Events carry their positions: in the `id` of events, which a browser's
 * EventSource keeps, and sends as `Last-Event-ID` when it comes back (HTML standard, section 9.2).
 */
import type { OutgoingEvent } from "../types.ts";

/** What a frame says of its client's place in a group. */
export type PlaceNews =
  | { readonly kind: "joined"; readonly place: Place }
  | { readonly kind: "moved"; readonly spot: Spot }
  | { readonly kind: "left"; readonly group: string };

type Spot = readonly [group: string, epoch: string, offset: number, id: string];
type Place = readonly [...spot: Spot, since: number, receipt: string];

/** The last used; all of them must fit into one header of a request. */
const MAX_PLACES = 16;

/** Undefined for events that say nothing of it; so do those of a handler that has not ended. */
export function newsIn({ event, json, position }: OutgoingEvent): PlaceNews | undefined {
  if (position !== undefined) {
    const [group, epoch, offset, id, part] = position;
    return part === undefined ? { kind: "moved", spot: [group, epoch, offset, id] } : undefined;
  }
  if (!isAboutPlaces(event)) return undefined;
  const { group, epoch, offset, id, since, receipt } = JSON.parse(json);
  if (event === "sluice.left") return { kind: "left", group };
  if (event !== "sluice.joined") return { kind: "moved", spot: [group, epoch, offset, id] };
  return { kind: "joined", place: [group, epoch, offset, id, since, receipt] };
}

/** Whether an event is for the client's `id` alone. */
export function isSilent(event: string): boolean {
  return isAboutPlaces(event) && event !== "sluice.gap";
}

function isAboutPlaces(event: string): boolean {
  return ["sluice.joined", "sluice.position", "sluice.gap", "sluice.left"].includes(event);
}

/** Where one client is in its groups; the last used stand last. */
export class StreamPlaces {
  readonly #places = new Map<string, Place>();
  /** Some were too many, now or before it came back. */
  #isCut = false;

  /** @param lastId - what the client says it got last; nothing of it is trusted, what cannot be read is nothing */
  constructor(lastId: unknown) {
    const { cut, places } = readable(lastId);
    this.#isCut = cut === 1;
    if (!Array.isArray(places)) return;
    // What it does not join now it must have for the next time.
    for (const place of places.slice(-MAX_PLACES)) if (isPlace(place)) this.#places.set(place[0], place);
  }

  /** As clients over Socket.IO say it in their handshake. */
  get greeting(): object {
    const positions = [...this.#places.values()].map(([group, epoch, offset, id, since, receipt]) => {
      return { group, epoch, offset, id, since, receipt };
    });
    return { v: 1, positions, isCut: this.#isCut };
  }

  /** The line that says where the client is after such news. */
  idAfter(news: PlaceNews): string {
    if (news.kind === "left") this.#places.delete(news.group);
    else if (news.kind === "joined") this.#enter(news.place);
    else {
      const known = this.#places.get(news.spot[0]);
      if (known !== undefined) this.#enter([...news.spot, known[4], known[5]]);
    }
    const id = JSON.stringify({ ...(this.#isCut && { cut: 1 }), places: [...this.#places.values()] });
    return `id: ${Buffer.from(id).toString("base64url")}\n`;
  }

  #enter(place: Place): void {
    this.#places.delete(place[0]);
    this.#places.set(place[0], place);
    if (this.#places.size <= MAX_PLACES) return;
    this.#isCut = true;
    for (const oldest of this.#places.keys()) return void this.#places.delete(oldest);
  }
}

function readable(id: unknown): { readonly cut?: unknown; readonly places?: unknown } {
  try {
    return JSON.parse(Buffer.from(String(id), "base64url").toString()) ?? {};
  } catch {
    return {};
  }
}

function isPlace(place: unknown): place is Place {
  if (!Array.isArray(place) || place.length !== 6) return false;
  const [group, epoch, offset, id, since, receipt] = place;
  const isShort = (text: unknown) => typeof text === "string" && text.length <= 100;
  return [group, epoch, id, receipt].every(isShort) && [offset, since].every(Number.isSafeInteger);
}
