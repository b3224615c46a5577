import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 20_000,
    hookTimeout: 30_000,
    // Tests of the cluster start processes of their own; two files at a time keep two cores busy without starving each other.
    maxWorkers: 2,
  },
});
