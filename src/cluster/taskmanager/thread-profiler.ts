/**
 * V8's sampling profiler in the thread of a subtask: started and stopped by commands, between two turns of the task's loop. What it saw
 * becomes a tree in the user's terms: positions in the shipped text are mapped to where the user wrote it, as in stack traces.
 *
 * Functions that V8 has put into the chain's generated function, which is what the chain is for, count as part of it; V8 does not tell them
 * apart any more.
 *
 * A task that is not profiled pays nothing. One that is stands still for some milliseconds when it begins, since V8 then looks at all
 * functions there are, and is slowed by some percent while it lasts. Task's thread only.
 */
import type { Profiler, Session } from "node:inspector";
import { createRequire } from "node:module";
import { chainScript } from "../../core/runtime/operator-chain.ts";
import { MOST_FRAMES, type FrameKind, type ProfileFrame } from "../../core/graph/task-profile.ts";
import { ConflictError, InvariantError } from "../../core/types/errors.ts";
import type { CodeBundle } from "../code/bundle.ts";
import { HEADER_LINES } from "../code/revive.ts";
import { locate } from "../code/stack.ts";

/** Time between two looks, microseconds. */
const INTERVAL_US = 1_000;

/** What was seen: the frames of a TaskProfile, and how often was looked. */
export interface ProfiledFrames {
  readonly durationMs: number;
  readonly samples: number;
  readonly frames: readonly ProfileFrame[];
}

/** The profiler of this thread. */
export class ThreadProfiler {
  #session: Session | undefined;

  /** @throws ConflictError while it runs. */
  start(): void {
    if (this.#session !== undefined) throw new ConflictError("it is being profiled already; wait until that has ended.");
    // Loaded when it is wanted: threads start without it, and runtimes that have none run everything else.
    const inspector = createRequire(import.meta.url)("node:inspector") as { readonly Session: new () => Session };
    const session = new inspector.Session();
    session.connect();
    this.#session = session;
    try {
      ask(session, "Profiler.enable");
      ask(session, "Profiler.setSamplingInterval", { interval: INTERVAL_US });
      ask(session, "Profiler.start");
    } catch (error) {
      this.#end();
      throw error;
    }
  }

  /** Ends it and tells what was seen. @param bundle the job's code. @throws InvariantError when it does not run. */
  stop(bundle: CodeBundle | undefined): ProfiledFrames {
    if (this.#session === undefined) throw new InvariantError("A profile was to end that has not begun.");
    try {
      const { profile } = ask(this.#session, "Profiler.stop") as Profiler.StopReturnType;
      return framesOf(profile, bundle);
    } finally {
      this.#end();
    }
  }

  #end(): void {
    this.#session?.disconnect();
    this.#session = undefined;
  }
}

/** A session with one's own thread answers at once. */
function ask(session: Session, method: string, parameters: object = {}): unknown {
  let answer: unknown;
  let failure: Error | null = null;
  session.post(method, parameters, (error, result) => {
    failure = error;
    answer = result;
  });
  if (failure !== null) throw failure as Error;
  return answer;
}

interface Call {
  readonly name: string;
  readonly kind: FrameKind;
  readonly place?: string;
  readonly hottest?: string;
  selfUs: number;
  totalUs: number;
  readonly callees: Call[];
}

/** V8's tree as frames. Exported for tests. */
export function framesOf(profile: Profiler.Profile, bundle: CodeBundle | undefined): ProfiledFrames {
  const { nodes, samples = [], timeDeltas = [] } = profile;
  const selfUs = new Map<number, number>();
  samples.forEach((node, index) => selfUs.set(node, (selfUs.get(node) ?? 0) + Math.max(0, timeDeltas[index] ?? 0)));
  const callees = new Set(nodes.flatMap((node) => node.children ?? []));
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const callOf = (node: Profiler.ProfileNode): Call => {
    const self = selfUs.get(node.id) ?? 0;
    const below = (node.children ?? []).flatMap((id) => {
      const child = byId.get(id);
      // What beginning and ending the profile took is not the task's.
      return child === undefined || child.callFrame.url === import.meta.url ? [] : [callOf(child)];
    });
    return { ...described(node, bundle), selfUs: self, totalUs: below.reduce((sum, it) => sum + it.totalUs, self), callees: below };
  };
  // The root stands for the thread, and is nobody's function.
  const roots = nodes.filter(({ id }) => !callees.has(id)).map(callOf);
  const tops = roots.flatMap((root) => root.callees);
  return {
    durationMs: (profile.endTime - profile.startTime) / 1_000,
    samples: samples.length,
    frames: listed(tops),
  };
}

/** The frames that took most, callers before callees; what is left out counts as its caller's own. */
function listed(tops: readonly Call[]): ProfileFrame[] {
  const all: Call[] = [];
  const collect = (call: Call): void => {
    all.push(call);
    call.callees.forEach(collect);
  };
  tops.forEach(collect);
  const least = all.map(({ totalUs }) => totalUs).sort((a, b) => b - a)[MOST_FRAMES] ?? 0;
  const frames: ProfileFrame[] = [];
  const list = (call: Call, parent: number): void => {
    const told = call.callees.filter(({ totalUs }) => totalUs > least);
    const self = told.reduce((rest, { totalUs }) => rest - totalUs, call.totalUs);
    const { name, kind, place, hottest } = call;
    const at = frames.length;
    frames.push({
      parent,
      name,
      kind,
      ...(place === undefined ? {} : { place }),
      selfMs: Math.max(0, Math.round(self / 10) / 100),
      ...(hottest === undefined ? {} : { hottest }),
    });
    for (const callee of told) list(callee, at);
  };
  for (const call of tops) if (call.totalUs > least) list(call, -1);
  return frames;
}

const ENGINE = new URL("../../", import.meta.url).href;
const DOORBELL = new URL("../exchange/doorbell.js", import.meta.url).href;
const CHAIN = chainScript("");

type Described = Pick<Call, "name" | "kind" | "place" | "hottest">;

function described({ callFrame, positionTicks = [] }: Profiler.ProfileNode, bundle: CodeBundle | undefined): Described {
  const { functionName, url, lineNumber, columnNumber } = callFrame;
  const name = functionName === "" ? "(anonymous)" : functionName.slice(0, 200);
  if (bundle !== undefined && url.endsWith(`/${bundle.fileName}`)) {
    const line = lineNumber - HEADER_LINES;
    const found = locate(bundle.map, line, columnNumber);
    const path = bundle.map.find((it) => line >= it.firstLine && line < it.firstLine + it.lines.length)?.path;
    // Functions that have no name were given one to travel under.
    const called = /^(anonymous(\$\d+)?)?$/.test(functionName) ? (path ?? name).slice(0, 200) : name;
    if (found === undefined || "path" in found) return { name: called, kind: "user" };
    const [most] = [...positionTicks].sort((a, b) => b.ticks - a.ticks);
    const hot = most === undefined ? undefined : locate(bundle.map, most.line - 1 - HEADER_LINES, 0);
    const hottest = hot === undefined || "path" in hot ? {} : { hottest: `${hot.line}${hot.text === undefined ? "" : `: ${hot.text}`}` };
    return { name: called, kind: "user", place: `${found.file}:${found.line}`.slice(0, 1_000), ...hottest };
  }
  if (url.startsWith(CHAIN)) return { name: `the chain ${url.slice(CHAIN.length)}`, kind: "user" };
  // Lines of what was compiled are not those of its source.
  if (url.startsWith(ENGINE)) {
    const waits = url === DOORBELL && /^(park|waitForBell)$/.test(functionName);
    return { name, kind: waits ? "waiting" : "engine", place: `drey/${url.slice(ENGINE.length).replace(/\.js$/, ".ts")}` };
  }
  const place = url === "" || lineNumber < 0 ? {} : { place: `${url.replace(/^file:\/\//, "")}:${lineNumber + 1}`.slice(0, 1_000) };
  if (name === "(idle)") return { name, kind: "waiting" };
  return { name, kind: url === "" || url.startsWith("node:") ? "runtime" : "library", ...place };
}
