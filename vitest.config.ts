import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // Deadlines are there for what hangs: nothing is proven by how fast a busy machine is.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    expect: { poll: { timeout: 30_000, interval: 20 } },
    // Tests of the cluster start processes of their own; two files at a time keep two cores busy without starving each other.
    maxWorkers: 2,
  },
});
