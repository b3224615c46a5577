/**
 * `npm start`: the flights job on a cluster of its own, shown while it runs, and written up as report.html.
 * `npm start -- 20000` replays so many flights per second instead of 2,000.
 *
 * Everything that is shown comes from the job's handle, whose state, metrics and results are Observables.
 */
import { writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { JobCanceledError, LocalCluster, environment } from "drey";
import { report } from "drey/notebook";
import { FLIGHTS, airportsFile, flightsFile } from "./data.ts";
import { type DayOfAirport, type Flight, flightDelays } from "./job.ts";
import { pictures, worstAirports } from "./results.ts";
import { Screen } from "./screen.ts";

const rowsPerSecond = Number(process.argv[2] ?? 2_000);
const SEED = 2001;
const REPORT = resolve("report.html");
const flightsInAll = FLIGHTS.toLocaleString("en-US");

console.log(`
Starting a cluster on this machine: a JobManager, and 2 TaskManagers with 2 slots
each. They replay ${flightsInAll} flights of January to March 2001, ${rowsPerSecond.toLocaleString("en-US")} a second and out
of order (seed ${SEED}): what was the average delay per airport and day?
About ${Math.ceil(FLIGHTS / rowsPerSecond)} seconds; ctrl-C ends everything.
`);

const cluster = await LocalCluster.start({ taskManagers: 2, slots: 2, options: { "metrics.interval": "500 ms" } });
const env = environment({ cluster, parallelism: 4 });
const outputs = flightDelays(env, { flights: flightsFile, airports: airportsFile, rowsPerSecond, seed: SEED });
const days: DayOfAirport[] = [];
const lateFlights: Flight[] = [];
const screen = new Screen("flight delays", FLIGHTS);

try {
  const streamGraph = env.streamGraph({ name: "flight delays", outputs });
  const job = await env.submit({ name: "flight delays", outputs });

  // A job that fails says why through result(); those who watch it need not.
  const error = (): void => undefined;
  job.status$.subscribe({ next: (details) => screen.status(details), error });
  job.metrics$.subscribe({ next: (metrics) => screen.metrics(metrics), error });
  job.outputs.delays.subscribe({ next: (row) => (days.push(row), screen.result(row)), error });
  job.outputs.late.subscribe({ next: (flight) => (lateFlights.push(flight), screen.late()), error });

  const { details } = await job.result();
  screen.end();
  const metrics = await job.metricsHistory();

  console.log(`\n${worstAirports(days, 10, "Where to expect delays (average in minutes)").text(process.stdout)}\n`);
  console.log(`${lateFlights.length} of ${flightsInAll} flights came after their day was over and went to a side output.`);
  writeFileSync(REPORT, report({ details, streamGraph, metrics, ...pictures(days, lateFlights) }));
  console.log(`Charts, the three graphs and what each slot did: ${REPORT}`);
} catch (error) {
  if (!(error instanceof JobCanceledError)) throw error;
  console.log("Cancelled.");
} finally {
  screen.end();
  await env.close();
  await cluster.stop();
}
