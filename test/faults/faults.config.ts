import { defineConfig } from "vitest/config";

/** Real processes and real faults take minutes: run by npm run test:faults and npm run chaos, not by npm test. */
export default defineConfig({
  test: { include: ["test/faults/{scenarios,network-scenarios,chaos}.ts"], testTimeout: 120_000, hookTimeout: 60_000, maxWorkers: 1 },
});
