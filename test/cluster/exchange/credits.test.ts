import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CreditBalance, CreditGrants } from "../../../src/cluster/exchange/credits.ts";

describe("credits", () => {
  test("a sender without credits may not send", () => {
    const balance = new CreditBalance();
    expect(balance.available).toBe(0);
    expect(() => balance.spend()).toThrow("without a credit");
  });

  test("an old or repeated limit changes nothing", () => {
    const balance = new CreditBalance();
    for (const limit of [4, 2, 4, 3]) balance.receive(limit);
    expect(balance.available).toBe(4);
  });

  test("small returns are gathered until half the ring is free", () => {
    const grants = new CreditGrants(4);
    expect(grants.due(4)).toBe(4);
    grants.announce(4);
    for (let n = 0; n < 4; n += 1) grants.accept(n);
    expect([grants.due(0), grants.due(1), grants.due(2), grants.wakeAt]).toEqual([-1, -1, 6, 2]);
  });

  test("lost, doubled and ungranted segments are refused", () => {
    const grants = new CreditGrants(2);
    grants.announce(2);
    grants.accept(0);
    expect(() => grants.accept(0)).toThrow("segment 1 was expected");
    expect(() => grants.accept(2)).toThrow("segment 1 was expected");
    grants.accept(1);
    expect(() => grants.accept(2)).toThrow("only 2 were granted");
  });

  // Steps: send, deliver a segment, consume, announce, and deliver some announcement in flight, any of them, keeping or losing it.
  const step = fc.oneof(
    fc.constant({ kind: "send" as const }), fc.constant({ kind: "arrive" as const }),
    fc.constant({ kind: "consume" as const }), fc.constant({ kind: "announce" as const }),
    fc.record({ kind: fc.constant("hear" as const), which: fc.nat(20), keep: fc.boolean() }),
    fc.record({ kind: fc.constant("lose" as const), which: fc.nat(20) }),
  );

  test("never more segments under way or unread than the ring holds, and nothing stalls, whatever happens to announcements", () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 9 }), fc.array(step, { maxLength: 400 }), (capacity, steps) => {
        const grants = new CreditGrants(capacity);
        const balance = new CreditBalance();
        const announcements: number[] = [];
        const onTheWay: number[] = [];
        let unread = 0;
        const run = (kind: string, which = 0, keep = false): void => {
          if (kind === "send" && balance.available > 0) onTheWay.push(balance.spend());
          if (kind === "arrive" && onTheWay.length > 0) {
            grants.accept(onTheWay.shift() as number);
            unread += 1;
          }
          if (kind === "consume" && unread > 0) unread -= 1;
          if (kind === "announce") {
            const limit = grants.due(capacity - unread);
            expect(limit >= 0).toBe(capacity - unread >= grants.wakeAt);
            if (limit < 0) return;
            grants.announce(limit);
            announcements.push(limit);
          }
          if (announcements.length > 0) {
            const at = which % announcements.length;
            if (kind === "hear") balance.receive(announcements[at] as number);
            if (kind === "lose" || (kind === "hear" && !keep)) announcements.splice(at, 1);
          }
          expect(onTheWay.length + unread).toBeLessThanOrEqual(capacity);
          expect(balance.sent + balance.available).toBeLessThanOrEqual(grants.announced);
        };
        for (const { kind, which, keep } of steps as { kind: string; which?: number; keep?: boolean }[]) run(kind, which, keep);
        // From any state, the last limit heard again and a consumer that goes on let the sender go on.
        const before = balance.sent;
        for (let n = 0; n < 4 * capacity; n += 1) {
          balance.receive(grants.announced);
          for (const kind of ["send", "arrive", "consume", "announce"]) run(kind);
        }
        expect(balance.sent).toBeGreaterThan(before + capacity);
      }),
      { numRuns: 300 },
    );
  });
});
