/**
 * Draws the README's pictures from a real run of the flights job: `npm run pictures`. Each is an SVG that fits light and dark pages.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { LocalCluster, environment } from "drey";
import { chart, graph } from "drey/notebook";
import { filter, firstValueFrom } from "rxjs";
import { FLIGHTS, airportsFile, flightsFile } from "../examples/flights/data.ts";
import { type DayOfAirport, flightDelays } from "../examples/flights/job.ts";
import { Screen } from "../examples/flights/screen.ts";
import { terminalDrawing } from "./terminal-drawing.ts";

const FOLDER = new URL("../docs/pictures/", import.meta.url);
/** The running job is drawn when so many airport days have come out. */
const MIDDLE = 4_500;
const AIRPORTS = 10;
const FIRST_MONTH = "2001-02";

function save(name: string, markup: string): void {
  writeFileSync(new URL(name, FOLDER), `${markup}\n`);
  console.log(`docs/pictures/${name}: ${(markup.length / 1_024).toFixed(1)} KiB`);
}

mkdirSync(FOLDER, { recursive: true });
let frame = "";
const screen = new Screen("flight delays", FLIGHTS, { isTTY: true, rows: 40, write: (text) => (frame = text) });
const cluster = await LocalCluster.start({ taskManagers: 2, slots: 2 });
const env = environment({ cluster, parallelism: 4 });
try {
  const job = await env.submit({
    name: "flight delays",
    outputs: flightDelays(env, { flights: flightsFile, airports: airportsFile, rowsPerSecond: 2_000, seed: 2001 }),
  });
  const days: DayOfAirport[] = [];
  job.outputs.delays.subscribe((row) => {
    days.push(row);
    screen.result(row);
  });
  job.outputs.late.subscribe(() => screen.late());
  job.status$.subscribe((details) => screen.status(details));
  job.metrics$.subscribe((metrics) => screen.metrics(metrics));

  await firstValueFrom(job.metrics$.pipe(filter(() => days.length > MIDDLE)));
  save("terminal.svg", terminalDrawing("npm start", frame));
  save("execution-graph.svg", graph(await job.details(), { metrics: await job.metricsHistory() }).drawing?.markup ?? "");

  await job.result();
  const flights = new Map<string, number>();
  for (const day of days) flights.set(day.origin, (flights.get(day.origin) ?? 0) + day.flights);
  const busiest = [...flights.keys()].sort((a, b) => (flights.get(b) ?? 0) - (flights.get(a) ?? 0)).slice(0, AIRPORTS);
  const rows = days
    .filter((row) => busiest.includes(row.origin) && row.day >= FIRST_MONTH)
    .map(({ origin, day, averageDelay }) => ({ origin, day: day.slice(5), minutes: Math.round(averageDelay) }))
    .sort((a, b) => (a.day === b.day ? busiest.indexOf(a.origin) - busiest.indexOf(b.origin) : a.day < b.day ? -1 : 1));
  const look = { title: "Average delay per airport and day in minutes", xTitle: "", yTitle: "", width: 860, height: 300 };
  save("delays.svg", chart(rows, { kind: "heat", x: "day", y: "origin", z: "minutes", ...look }).drawing?.markup ?? "");
} finally {
  screen.end();
  await env.close();
  await cluster.stop();
}
