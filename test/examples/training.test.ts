/** The exercises of Flink's training on a cluster, in both styles, against answers that are computed in another way. */
import { type Environment, LocalCluster, environment } from "drey";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { hourlyTips, hourlyTipsPiped } from "../../examples/training/hourly-tips.ts";
import { longRideAlerts, longRideAlertsPiped } from "../../examples/training/long-ride-alerts.ts";
import { rideCleansing, rideCleansingPiped } from "../../examples/training/ride-cleansing.ts";
import { ridesAndFares, ridesAndFaresPiped } from "../../examples/training/rides-and-fares.ts";
import { type TaxiFare, type TaxiRide, taxiData } from "../../examples/training/taxi.ts";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

const { rides, fares } = taxiData(600, 2020);
let cluster: LocalCluster;
let env: Environment;
beforeAll(async () => {
  // Nobody is lost here: a machine that is too busy for heartbeats is no fault.
  cluster = await LocalCluster.start({ taskManagers: 2, slots: 2, options: { "heartbeat.timeout": "60 s" } });
  env = environment({ cluster, parallelism: 2 });
});
afterAll(async () => {
  await env.close();
  await cluster.stop();
});

const HOUR_MS = 3_600_000;
const byNumber = (a: number, b: number): number => a - b;

describe("Flink's training", () => {
  test.each([["methods", rideCleansing], ["a pipe", rideCleansingPiped]] as const)("ride cleansing, with %s", async (_style, pipeline) => {
    const got = await pipeline(env.from(rides)).collect();
    const inside = ({ startLon, startLat, endLon, endLat }: TaxiRide): boolean =>
      [startLon, endLon].every((lon) => -74.05 < lon && lon < -73.7) && [startLat, endLat].every((lat) => 40.5 < lat && lat < 41);
    const expected = rides.filter(inside);
    expect(expected.length).toBeGreaterThan(50);
    expect(got.map(({ rideId, isStart }) => `${rideId}${isStart}`).sort()).toEqual(expected.map(({ rideId, isStart }) => `${rideId}${isStart}`).sort());
  });

  test.each([["methods", ridesAndFares], ["a pipe", ridesAndFaresPiped]] as const)("rides and fares, with %s", async (_style, pipeline) => {
    const got = await pipeline(env.from(rides), env.from(fares)).collect();
    expect(got.every(({ ride, fare }) => ride.isStart && ride.rideId === fare.rideId)).toBe(true);
    expect(got.map(({ fare }) => fare.rideId).sort(byNumber)).toEqual(fares.map(({ rideId }) => rideId).sort(byNumber));
  });

  test.each([["methods", hourlyTips], ["a pipe", hourlyTipsPiped]] as const)("hourly tips, with %s", async (_style, pipeline) => {
    const got = await pipeline(env.from(fares)).collect();
    const tips = new Map<number, Map<number, number>>();
    for (const { startTime, driverId, tip } of fares as readonly TaxiFare[]) {
      const hour = Math.floor(startTime / HOUR_MS + 1) * HOUR_MS;
      const drivers = tips.get(hour) ?? new Map<number, number>();
      tips.set(hour, drivers.set(driverId, (drivers.get(driverId) ?? 0) + tip));
    }
    expect(got.map(({ hour }) => hour)).toEqual([...tips.keys()].sort(byNumber));
    for (const { hour, driverId, tips: most } of got) {
      expect(most).toBe(Math.max(...(tips.get(hour) as Map<number, number>).values()));
      expect(tips.get(hour)?.get(driverId)).toBe(most);
    }
  });

  test.each([["methods", longRideAlerts], ["a pipe", longRideAlertsPiped]] as const)("long ride alerts, with %s", async (_style, pipeline) => {
    const got = await pipeline(env.from(rides)).collect();
    const long = rides.filter(({ isStart }) => isStart).filter((start) => {
      const end = rides.find(({ rideId, isStart }) => !isStart && rideId === start.rideId);
      return end === undefined || end.eventTime - start.eventTime > 2 * HOUR_MS;
    });
    expect(long.length).toBe(30 + 20 - 10);
    expect([...new Set(got)].sort(byNumber)).toEqual(long.map(({ rideId }) => rideId).sort(byNumber));
  });
});
