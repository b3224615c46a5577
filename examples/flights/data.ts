/** Where the example's data lies on this machine: in the package `vega-datasets`, which comes with `npm ci`. */
import { fileURLToPath } from "node:url";

const file = (name: string): string => fileURLToPath(new URL(`../data/${name}`, import.meta.resolve("vega-datasets")));

/** 20,000 flights as a JSON array, sorted by date. */
export const flightsFile: string = file("flights-20k.json");
export const FLIGHTS = 20_000;
/** Codes, names and places of airports, as CSV. */
export const airportsFile: string = file("airports.csv");
