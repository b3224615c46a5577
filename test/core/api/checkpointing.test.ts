import { describe, expect, test } from "vitest";
import { ConfigurationError, localEnvironment } from "../../../src/core/index.ts";
import { options } from "../../../src/core/types/options.ts";

describe("asking for checkpoints", () => {
  test("an interval and settings become Flink's options", () => {
    const env = localEnvironment().enableCheckpointing("10 s", {
      mode: "at-least-once", timeout: "1 min", minPause: 500, maxConcurrent: 2, tolerableFailures: 3, unaligned: true,
      alignedTimeout: "2 s", dir: "/tmp/checkpoints", retain: "on-cancellation", retained: 5,
    });
    expect(env.configuration.toRecord()).toMatchObject({
      "execution.checkpointing.interval": 10_000,
      "execution.checkpointing.mode": "at-least-once",
      "execution.checkpointing.timeout": 60_000,
      "execution.checkpointing.min-pause": 500,
      "execution.checkpointing.max-concurrent-checkpoints": 2,
      "execution.checkpointing.tolerable-failed-checkpoints": 3,
      "execution.checkpointing.unaligned.enabled": true,
      "execution.checkpointing.aligned-checkpoint-timeout": 2_000,
      "execution.checkpointing.dir": "/tmp/checkpoints",
      "execution.checkpointing.externalized-checkpoint-retention": "retain-on-cancellation",
      "execution.checkpointing.num-retained": 5,
    });
  });

  test("what is left out stays as the cluster says, and later calls win", () => {
    const { configuration } = localEnvironment().enableCheckpointing("1 s").enableCheckpointing("5 s");
    expect(configuration.toRecord()).toEqual({ [options.checkpointInterval.key]: 5_000 });
  });

  test("a relative folder is seen from the program's, and a URL is left alone", () => {
    const at = (dir: string): unknown => localEnvironment().enableCheckpointing(1, { dir }).configuration.get(options.checkpointDirectory);
    expect(at("snapshots")).toBe(`${process.cwd()}/snapshots`);
    expect(at("s3://bucket/path")).toBe("s3://bucket/path");
  });

  test("nonsense is refused with the words that fit", () => {
    expect(() => localEnvironment().enableCheckpointing(0)).toThrow(/interval 0; give a time longer than 0/);
    expect(() => localEnvironment().enableCheckpointing("1 s", { retain: "always" as never })).toThrow(/none, on-failure, on-cancellation/);
    expect(() => localEnvironment().enableCheckpointing("1 s", { maxConcurrent: 0 })).toThrow(ConfigurationError);
  });
});
