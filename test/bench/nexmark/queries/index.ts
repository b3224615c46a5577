/** The queries by name. */
import type { AnyQuery } from "../query.ts";
import { q0 } from "./q0.ts";
import { q1 } from "./q1.ts";
import { q2 } from "./q2.ts";
import { q3 } from "./q3.ts";
import { q4 } from "./q4.ts";
import { q5 } from "./q5.ts";

export const queries: Readonly<Record<string, AnyQuery>> = { q0, q1, q2, q3, q4, q5 };
