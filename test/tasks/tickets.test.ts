import { expect, test } from "@jest/globals";
import { Tickets } from "../../src/tasks/tickets.ts";

const secret = "a secret of at least thirty-two characters";
const other = "another secret of at least thirty-two chars";
const id = "default.abc";
const denied = expect.objectContaining({ code: "ticket_refused", closeCode: 4403 });

test("a ticket is good for its run and user until its time is over", () => {
  const tickets = new Tickets([secret]);
  const ticket = tickets.issue(id, { user: "ann", ttlMs: 1_000 }, 5_000);
  expect(tickets.check(ticket, "ann", 5_999)).toEqual({ id, user: "ann", expiresAt: 6_000 });
  expect(() => tickets.check(ticket, "bob", 5_999)).toThrow(denied);
  expect(() => tickets.check(ticket, undefined, 5_999)).toThrow(denied);
  expect(() => tickets.check(ticket, "ann", 6_000)).toThrow(/time is over/);
});

test("a ticket without a user is for whoever has it", () => {
  const tickets = new Tickets([secret]);
  expect(tickets.check(tickets.issue(id, {}, 0), "bob", 1).user).toBeUndefined();
});

test("nothing of a ticket can be changed, nor be made up", () => {
  const tickets = new Tickets([secret]);
  const ticket = tickets.issue(id, { user: "ann" }, 0);
  for (let i = 0; i < ticket.length; i++) {
    const changed = `${ticket.slice(0, i)}${ticket[i] === "A" ? "B" : "A"}${ticket.slice(i + 1)}`;
    // The last character of base64url has bits that mean nothing.
    if (changed === ticket || i === ticket.length - 1) continue;
    expect(() => tickets.check(changed, "ann", 1)).toThrow(denied);
  }
  const strange = [undefined, null, 7, "", "t1", "t1...", {}, [ticket], "x".repeat(100_000), `${ticket}x`];
  for (const one of strange) expect(() => tickets.check(one, "ann", 1)).toThrow(denied);
  expect(() => new Tickets([other]).check(ticket, "ann", 1)).toThrow(denied);
});

test("secrets are changed in turn: the first signs, all are believed", () => {
  const ticket = new Tickets([secret]).issue(id, {}, 0);
  expect(new Tickets([other, secret]).check(ticket, undefined, 1).id).toBe(id);
  expect(new Tickets([other, secret]).issue(id, {}, 0)).toBe(new Tickets([other]).issue(id, {}, 0));
});

test("without a secret tickets are good for one process", () => {
  const [one, two] = [new Tickets([]), new Tickets([])];
  expect(one.check(one.issue(id, {}, 0), undefined, 1).id).toBe(id);
  expect(() => two.check(one.issue(id, {}, 0), undefined, 1)).toThrow(denied);
});

test("wrong secrets, times and users are refused", () => {
  expect(() => new Tickets(["short"])).toThrow(/at least 32 characters/);
  expect(() => new Tickets([secret]).issue(id, { ttlMs: 0 }, 0)).toThrow(/ttlMs/);
  expect(() => new Tickets([secret]).issue(id, { user: "x".repeat(300) }, 0)).toThrow(/256 bytes/);
});
