/** Whatever arrives is checked against its shape before anybody sees it: fuzzed values, and messages that are nearly right. */
import fc from "fast-check";
import * as v from "valibot";
import { describe, expect, it } from "vitest";
import {
  clientConversation, clientEvents, registrationConversation, taskManagerConversation,
} from "../../../src/cluster/protocol/messages.ts";

const conversations = { clientConversation, clientEvents, registrationConversation, taskManagerConversation };
const methods = Object.entries(conversations).flatMap(([conversation, table]) =>
  Object.entries(table).map(([method, { request, reply }]) => ({ name: `${conversation}.${method}`, request, reply })),
);

/** Messages as they are sent. */
const sound: Readonly<Record<string, unknown>> = {
  "clientConversation.savepoint": { job: "j", target: "/savepoints" },
  "clientConversation.rescale": { job: "j", parallelism: 2 },
  "clientConversation.openResult": { job: "j", name: "out", from: [{ number: 3, rows: 1 }] },
  "clientConversation.queryState": { job: "j", name: "rides" },
  "clientConversation.profile": { job: "j", vertex: "v1", subtask: 0, durationMs: 5_000 },
  "clientEvents.grantFeed": { job: "j", name: "feed", subtask: 0, attempt: 1, granted: 8, from: 3, covered: 3 },
  "registrationConversation.declineCheckpoint": {
    execution: { job: "j", vertex: "v", subtask: 0, attempt: 0 },
    checkpoint: 1,
    error: { name: "Error", code: "DREY_CHECKPOINT", domain: "system", message: "no" },
  },
  "taskManagerConversation.triggerCheckpoint": {
    job: "j",
    trigger: {
      checkpoint: 1, timestampMs: 1, kind: "checkpoint", mode: "exactly-once", unaligned: false, alignedTimeoutMs: 0,
    },
    executions: [{ job: "j", vertex: "v", subtask: 0, attempt: 0 }],
    folder: "/checkpoints/1",
  },
};

/** A value with one of its parts replaced by something else. */
function spoiled(value: unknown, path: readonly number[], by: unknown): unknown {
  const [step, ...rest] = path;
  if (step === undefined || typeof value !== "object" || value === null || Object.keys(value).length === 0) return by;
  const keys = Object.keys(value);
  const key = keys[step % keys.length] as string;
  const copy = Array.isArray(value) ? [...(value as unknown[])] : { ...value };
  (copy as Record<string, unknown>)[key] = spoiled((value as Record<string, unknown>)[key], rest, by);
  return copy;
}

describe("shapes of messages", () => {
  it("never throw, whatever is put before them", () => {
    fc.assert(
      fc.property(fc.anything({ withNullPrototype: true, withBigInt: true, withSparseArray: true }), (anything) => {
        for (const { request, reply } of methods) {
          v.safeParse(request, anything);
          if (reply !== undefined) v.safeParse(reply, anything);
        }
      }),
      { numRuns: 200 },
    );
  });

  it.each(Object.entries(sound))("%s takes what is sent, and nothing with a field too many", (name, message) => {
    const { request } = methods.find((method) => method.name === name)!;
    expect(v.safeParse(request, message).success).toBe(true);
    for (const field of ["extra", "constructor", "toString"]) {
      expect(v.safeParse(request, { ...(message as object), [field]: 1 }).success).toBe(false);
    }
  });

  it.each(Object.entries(sound))("%s refuses numbers that are no counts, texts without end and parts of other kinds", (name, message) => {
    const { request } = methods.find((method) => method.name === name)!;
    // Longer than the longest text that any message has, an error's stack.
    const LONG = "x".repeat(2 ** 20 + 1);
    const bad = fc.constantFrom<unknown>(-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, LONG, null, () => 1, [[]], 2n ** 70n);
    fc.assert(
      fc.property(fc.array(fc.nat(20), { minLength: 1, maxLength: 5 }), bad, (path, by) => {
        const parsed = v.safeParse(request, spoiled(message, path, by));
        // Only places where any number is meant take one: points of time, and durations.
        if (parsed.success) expect(typeof by).toBe("number");
      }),
    );
  });
});
