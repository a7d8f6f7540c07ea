/** Who was to hear what, and who did. Times are of one monotonic clock, in milliseconds. */

export const LATE_MS = 1_000;

export interface Account {
  readonly sent: number;
  /** Of those, the ones that no node acknowledged: their sender's node was gone. They count no further. */
  readonly unacknowledged: number;
  readonly delivered: number;
  /** Not heard by a client that was connected all the time. */
  readonly lost: number;
  /** Not heard by a client that lost its connection after the message was sent. */
  readonly lostInFlight: number;
  /** Sent while a client had no connection. */
  readonly missedWhileAway: number;
  readonly twice: number;
  /** Later than {@link LATE_MS}. */
  readonly late: number;
  readonly latestMs: number;
  /** Clients that lost their connection. */
  readonly moved: number;
  readonly longestGapMs: number;
}

interface Message {
  readonly sentAt: number;
  readonly away: number;
  readonly waiting: Set<number>;
  readonly heardBy: Set<number>;
  lostInFlight: number;
  isUnacknowledged: boolean;
  isAccepted: boolean;
}

export class Ledger {
  readonly #messages = new Map<string, Message>();
  readonly #awaySince = new Map<number, number>();
  #from = 0;
  #number = 0;
  #delivered = 0;
  #late = 0;
  #latestMs = 0;
  #twice = 0;
  #moved = 0;
  #longestGapMs = 0;

  /** Forgets what was; who is away stays away. */
  begin(now: number): void {
    this.#from = now;
    this.#messages.clear();
    this.#delivered = this.#late = this.#latestMs = this.#twice = this.#moved = this.#longestGapMs = 0;
  }

  /** @returns the text to send */
  sent(now: number, present: readonly number[], away: number): string {
    const text = `message ${++this.#number}`;
    this.#messages.set(text, {
      sentAt: now,
      away,
      waiting: new Set(present),
      heardBy: new Set(),
      lostInFlight: 0,
      isUnacknowledged: false,
      isAccepted: false,
    });
    return text;
  }

  accepted(text: string): void {
    const message = this.#messages.get(text);
    if (message !== undefined) message.isAccepted = true;
  }

  refused(text: string): void {
    const message = this.#messages.get(text);
    if (message === undefined) return;
    message.isUnacknowledged = true;
    message.waiting.clear();
  }

  heard(member: number, text: string, now: number): void {
    const message = this.#messages.get(text);
    if (message === undefined) return;
    if (message.heardBy.has(member)) this.#twice += 1;
    message.heardBy.add(member);
    if (!message.waiting.delete(member)) return;
    const tookMs = now - message.sentAt;
    this.#delivered += 1;
    this.#latestMs = Math.max(this.#latestMs, tookMs);
    if (tookMs > LATE_MS) this.#late += 1;
  }

  cameIn(member: number, now: number): void {
    const since = this.#awaySince.get(member);
    if (since === undefined) return;
    this.#awaySince.delete(member);
    this.#longestGapMs = Math.max(this.#longestGapMs, now - Math.max(since, this.#from));
  }

  wentAway(member: number, now: number): void {
    this.#awaySince.set(member, now);
    this.#moved += 1;
    for (const message of this.#messages.values()) {
      if (message.waiting.delete(member)) message.lostInFlight += 1;
    }
  }

  get isSettled(): boolean {
    return [...this.#messages.values()].every(
      ({ waiting, isAccepted, isUnacknowledged }) => isUnacknowledged || (isAccepted && waiting.size === 0),
    );
  }

  account(now: number): Account {
    let lost = 0;
    let lostInFlight = 0;
    let missedWhileAway = 0;
    let unacknowledged = 0;
    for (const message of this.#messages.values()) {
      if (message.isUnacknowledged) unacknowledged += 1;
      else {
        lost += message.waiting.size;
        lostInFlight += message.lostInFlight;
        missedWhileAway += message.away;
      }
    }
    const stillAwayMs = [...this.#awaySince.values()].map((since) => now - Math.max(since, this.#from));
    return {
      sent: this.#messages.size,
      unacknowledged,
      delivered: this.#delivered,
      lost,
      lostInFlight,
      missedWhileAway,
      twice: this.#twice,
      late: this.#late,
      latestMs: this.#latestMs,
      moved: this.#moved,
      longestGapMs: Math.max(this.#longestGapMs, ...stillAwayMs),
    };
  }
}
