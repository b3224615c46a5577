import { defineConfig } from "vitest/config";

export default defineConfig({
  test: { include: ["test/notebook/lessons.ts"], testTimeout: 180_000, hookTimeout: 300_000 },
});
