/**
 * From a key to the subtask that owns it: key → hash → key group → subtask. Key groups are the unit in which keyed state moves
 * when a job is rescaled: a key's group never changes, only the subtask that owns the group; and a subtask owns a contiguous range.
 *
 * Hashes are those of Flink (Java's `hashCode` of the matching type, then Murmur3), so that a string or a whole number lies in
 * the same key group here and there. They are written into snapshots: changing one loses state, and the golden tests say so.
 */
import { ConfigurationError } from "../types/errors.ts";
import type { KeyToken } from "./keys.ts";

/** Key groups of a job whose author didn't choose; the upper bound of its parallelism. */
export const DEFAULT_MAX_PARALLELISM = 128;
/** The highest number of key groups, as in Flink. */
export const UPPER_BOUND_MAX_PARALLELISM: number = 2 ** 15;

/** The key groups that one subtask owns: `start` … `end - 1`. */
export interface KeyGroupRange {
  readonly start: number;
  readonly end: number;
}

/** A key's group, 0 … maxParallelism - 1; the same in every process and every version. */
export function keyGroupOf(token: KeyToken, maxParallelism: number): number {
  return hashKey(token) % maxParallelism;
}

/** The subtask that owns a key group. */
export function subtaskOfKeyGroup(keyGroup: number, parallelism: number, maxParallelism: number): number {
  return Math.floor((keyGroup * parallelism) / maxParallelism);
}

/**
 * The key groups of a subtask. The ranges of all subtasks are disjoint and together hold every key group.
 * @throws ConfigurationError if the parallelism exceeds the number of key groups: a subtask would own none.
 */
export function keyGroupRange(subtask: number, parallelism: number, maxParallelism: number): KeyGroupRange {
  if (!(parallelism >= 1 && parallelism <= maxParallelism && maxParallelism <= UPPER_BOUND_MAX_PARALLELISM)) {
    throw new ConfigurationError(
      `parallelism ${parallelism} does not go with maxParallelism ${maxParallelism}: a keyed operator needs ` +
        `1 ≤ parallelism ≤ maxParallelism ≤ ${UPPER_BOUND_MAX_PARALLELISM}; ` +
        "lower the parallelism, or raise pipeline.max-parallelism (only of a job that has no state to restore)",
    );
  }
  return { start: Math.ceil((subtask * maxParallelism) / parallelism), end: Math.ceil(((subtask + 1) * maxParallelism) / parallelism) };
}

/** A stable hash of a key's token, 0 … 2^31 - 1, well mixed in all bits. */
export function hashKey(token: KeyToken): number {
  if (typeof token === "number") return murmur((token | 0) === token ? token : hashOfNumber(token));
  if (typeof token === "string") {
    let hash = 0;
    for (let i = 0; i < token.length; i++) hash = (Math.imul(hash, 31) + token.charCodeAt(i)) | 0;
    return murmur(hash);
  }
  if (typeof token === "boolean") return murmur(token ? 1231 : 1237);
  return murmur(hashOfBigint(token));
}

/** Flink's `MathUtils.murmurHash`: one round of Murmur3 over an int, then its finaliser, made non-negative. */
function murmur(code: number): number {
  let h = Math.imul(code, 0xcc9e2d51);
  h = (h << 15) | (h >>> 17);
  h = Math.imul(h, 0x1b873593);
  h = (h << 13) | (h >>> 19);
  h = (Math.imul(h, 5) + 0xe6546b64) | 0;
  h ^= 4;
  h ^= h >>> 16;
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  h ^= h >>> 16;
  return h >= 0 ? h : h === -2147483648 ? 0 : -h;
}

const doubleBits = new Float64Array(1);
const doubleWords = new Int32Array(doubleBits.buffer);

/** Whole numbers beyond 32 bits hash as Java's Long (ids, times in ms), all others as Java's Double. */
function hashOfNumber(value: number): number {
  if (Number.isSafeInteger(value)) return (value % 4294967296 | 0) ^ wordAbove(value);
  // Every NaN is the same key; a NaN's payload must not matter.
  doubleBits[0] = Number.isNaN(value) ? Number.NaN : value;
  return (doubleWords[0] as number) ^ (doubleWords[1] as number);
}

/** The upper 32 bits of a whole number as two's complement. */
const wordAbove = (value: number): number => Math.floor(value / 4294967296) | 0;

/** Within 64 bits as Java's Long; longer ones word by word. */
function hashOfBigint(value: bigint): number {
  if (BigInt.asIntN(64, value) === value) return Number(BigInt.asIntN(32, value)) ^ Number(BigInt.asIntN(32, value >> 32n));
  let hash = value < 0n ? 1 : 0;
  for (let rest = value < 0n ? -value : value; rest > 0n; rest >>= 32n) {
    hash = (Math.imul(hash, 31) + Number(BigInt.asIntN(32, rest))) | 0;
  }
  return hash;
}
