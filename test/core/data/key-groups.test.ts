import { fc } from "./arbitraries.ts";
import { describe, expect, test } from "vitest";
import { DEFAULT_MAX_PARALLELISM, hashKey, keyGroupOf, keyGroupRange, subtaskOfKeyGroup } from "../../../src/core/data/key-groups.ts";
import { type KeyToken, keyToken } from "../../../src/core/data/keys.ts";
import { ConfigurationError } from "../../../src/core/types/errors.ts";

/** Computed by Java: `MathUtils.murmurHash(key.hashCode())` of an Integer, Long, Double, String, Boolean; and the group among 128. */
const computedByJava: [KeyToken, number, number][] = [
  [0, 593689054, 94],
  [1, 68075478, 86],
  [2, 1085422463, 127],
  [42, 1134849565, 29],
  [-1, 1982413648, 80],
  [-5, 1637461840, 80],
  [1000, 3506311, 7],
  [2147483647, 1653689534, 62],
  [-2147483648, 1718298732, 108],
  [2147483648, 1718298732, 108],
  [4294967296, 68075478, 86],
  [1700000000000, 1892790720, 64],
  [-1700000000000, 809061386, 10],
  [9007199254740991, 226258121, 73],
  [-9007199254740991, 178321549, 13],
  [0.5, 241279884, 12],
  [-0.5, 343892887, 23],
  [3.141592653589793, 552755147, 75],
  [1e300, 1683163247, 111],
  [5e-324, 68075478, 86],
  [Number.NaN, 1585394089, 41],
  [Infinity, 663429370, 122],
  [-Infinity, 424838734, 78],
  ["", 593689054, 94],
  ["a", 1455541201, 81],
  ["hello", 1715862179, 35],
  ["auction-1007", 1953966479, 15],
  ["user-42", 1600933524, 20],
  ["한글", 1681233547, 11],
  ["😀", 1934073014, 54],
  [true, 1090530765, 77],
  [false, 1530821891, 3],
  [0n, 593689054, 94],
  [7n, 1343918321, 113],
  [-7n, 975490194, 18],
  [9223372036854775807n, 1718298732, 108],
  [-9223372036854775808n, 1718298732, 108],
];

describe("the hash of a key", () => {
  test.each(computedByJava)("%s is %i, as in Flink", (token, hash, group) => {
    expect(hashKey(token)).toBe(hash);
    expect(keyGroupOf(token, DEFAULT_MAX_PARALLELISM)).toBe(group);
  });

  // Snapshots hold these. If one changes, state of running jobs is lost: change the test only together with a migration.
  test("of composite keys and of long bigints never changes", () => {
    const keys = [["user", 1], { b: 2, a: "x" }, new Date(0), [[1], null, undefined, true], 2n ** 100n, -(2n ** 100n)];
    expect(keys.map((key) => hashKey(keyToken(key)))).toEqual([1041552434, 749279474, 690071163, 891532274, 383218292, 1913538572]);
  });

  test("is one for every NaN", () => {
    const odd = new Float64Array(new BigUint64Array([0x7ff8000000000001n, 0xfff0000000000001n]).buffer);
    for (const nan of odd) expect(hashKey(keyToken(nan))).toBe(hashKey(Number.NaN));
  });

  test("spreads consecutive numbers, strings and times evenly over the key groups", () => {
    const makers: ((i: number) => KeyToken)[] = [
      (i) => i, (i) => `user-${i}`, (i) => 1.7e12 + i * 1000, (i) => i / 8, (i) => keyToken(["k", i]),
    ];
    for (const make of makers) {
      const counts = new Array<number>(128).fill(0);
      for (let i = 0; i < 12_800; i++) counts[keyGroupOf(make(i), 128)] = (counts[keyGroupOf(make(i), 128)] as number) + 1;
      expect(Math.max(...counts)).toBeLessThan(160);
      expect(Math.min(...counts)).toBeGreaterThan(50);
    }
  });
});

describe("the key groups of the subtasks", () => {
  const sizes = fc.integer({ min: 1, max: 1024 }).chain((max) => fc.tuple(fc.integer({ min: 1, max }), fc.constant(max)));

  test("are disjoint, complete and in order, and agree with the owner of each group", () => {
    fc.assert(fc.property(sizes, ([parallelism, max]) => {
      let next = 0;
      for (let subtask = 0; subtask < parallelism; subtask++) {
        const { start, end } = keyGroupRange(subtask, parallelism, max);
        if (start !== next || end <= start) expect.fail(`subtask ${subtask}: ${start} … ${end} after ${next}`);
        for (let group = start; group < end; group++) {
          if (subtaskOfKeyGroup(group, parallelism, max) !== subtask) expect.fail(`group ${group}`);
        }
        next = end;
      }
      expect(next).toBe(max);
    }));
  });

  test("differ in size by at most one", () => {
    fc.assert(fc.property(sizes, ([parallelism, max]) => {
      const ranges = Array.from({ length: parallelism }, (_, subtask) => keyGroupRange(subtask, parallelism, max));
      const counts = ranges.map(({ start, end }) => end - start);
      expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
    }));
  });

  test("cannot be fewer than the subtasks", () => {
    expect(() => keyGroupRange(0, 129, 128)).toThrow(ConfigurationError);
    expect(() => keyGroupRange(0, 0, 128)).toThrow("parallelism 0 does not go with maxParallelism 128");
  });
});
