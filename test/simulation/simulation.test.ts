import { expect, test } from "vitest";
import { simulate } from "./cluster.ts";

test("try", async () => {
  const t = performance.now();
  for (let seed = 1; seed <= Number(process.env["SEEDS"] ?? 3); seed++) {
    const report = await simulate(seed);
    console.log(seed, report.failure ?? "ok", report.faults, report.virtualMs, report.trace.length, (performance.now() - t).toFixed(0));
    if (report.failure !== undefined && process.env["TRACE"]) console.log(report.trace.slice(-60).join("\n"));
  }
}, 300_000);
