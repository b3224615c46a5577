import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  EntryKind, MESSAGE_HEADER_BYTES, Side, entryBytes, messageEpoch, readEntries, writeEntryHeader, writeMessageHeader,
} from "../../../src/cluster/exchange/link-message.ts";
import { ProtocolError } from "../../../src/core/types/errors.ts";

interface Entry {
  readonly kind: EntryKind;
  readonly side: Side;
  readonly channel: number;
  readonly value: number;
  readonly body: Uint8Array;
}

function write(epoch: number, entries: readonly Entry[]): Buffer {
  const message = Buffer.alloc(MESSAGE_HEADER_BYTES + entries.reduce((sum, { body }) => sum + entryBytes(body.length), 0));
  writeMessageHeader(message, epoch);
  let at = MESSAGE_HEADER_BYTES;
  for (const { kind, side, channel, value, body } of entries) {
    message.set(body, writeEntryHeader(message, at, kind, side, channel, body.length, value));
    at += entryBytes(body.length);
  }
  return message;
}

function read(message: Buffer): Entry[] {
  const entries: Entry[] = [];
  readEntries(message, (kind, side, channel, value, start, end) => {
    entries.push({ kind, side, channel, value, body: Uint8Array.from(message.subarray(start, end)) });
  });
  return entries;
}

const entry = fc.record({
  kind: fc.constantFrom(...Object.values(EntryKind)),
  side: fc.constantFrom(...Object.values(Side)),
  channel: fc.integer({ min: 0, max: 0xffff_ffff }),
  value: fc.maxSafeNat(),
  body: fc.uint8Array({ maxLength: 50 }),
});
const epoch = fc.integer({ min: 0, max: 0xffff_ffff });

describe("a message between TaskManagers", () => {
  test("is read as it was written", () => {
    fc.assert(
      fc.property(epoch, fc.array(entry), (life, entries) => {
        const message = write(life, entries);
        expect(messageEpoch(message)).toBe(life);
        expect(read(message)).toEqual(entries);
      }),
    );
  });

  test("that was cut, changed or invented is read or refused, never more", () => {
    const attempt = (message: Buffer): void => {
      try {
        for (const { body } of read(message)) expect(body.length).toBeLessThanOrEqual(message.length);
      } catch (error) {
        expect(error).toBeInstanceOf(ProtocolError);
      }
    };
    fc.assert(
      fc.property(epoch, fc.array(entry, { minLength: 1 }), fc.nat(), fc.nat(), fc.nat(255), (life, entries, cut, at, byte) => {
        const message = write(life, entries);
        attempt(message.subarray(0, cut % message.length));
        message[at % message.length] = byte;
        attempt(message);
      }),
    );
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => attempt(Buffer.from(bytes))));
  });
});
