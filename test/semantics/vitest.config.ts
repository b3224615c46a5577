import { defineConfig } from "vitest/config";

/** `npm run test:semantics`: the same properties as in `npm test`, on thousands of sequences each. */
export default defineConfig({
  test: {
    include: ["test/semantics/**/*.test.ts"],
    env: { SEMANTICS_RUNS: process.env["SEMANTICS_RUNS"] ?? "3000" },
    testTimeout: 600_000,
    maxWorkers: 2,
  },
});
