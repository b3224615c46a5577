/**
 * The house rules, checked on the source as text: who may know whom, which package lives where, what a file must say of itself.
 * CONTRIBUTING.md tells them in words. A rule that turns out wrong is changed here, with its reason beside it; there are no exceptions by
 * file name.
 */
import { readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { commands, doors, exists, files, house, loadedWith, manifest, neighbours, packageOf, targetOf } from "./tidy/source.ts";

/**
 * Each room and the rooms it may know; its own it always knows. `core/*` is every room of core and its door.
 *
 *     core       types ◀ data ◀ time ◀ state · graph ◀ operators ◀ connectors ◀ runtime ◀ api ◀ table ◀ lib
 *     cluster    core ◀ protocol · code · exchange · storage ◀ jobmanager · taskmanager · client ◀ local ◀ cli
 *     notebook   core, and of cluster what a client needs
 */
const mayKnow: Readonly<Record<string, readonly string[]>> = {
  "core/types": [],
  "core/data": ["core/types"],
  // The lowest and highest watermark are marks of the segment layout.
  "core/time": ["core/data", "core/types"],
  // What a description of a job is made of: names and numbers. Whoever moves or draws jobs need not know what runs in them.
  "core/graph": ["core/time", "core/data", "core/types"],
  "core/state": ["core/time", "core/data", "core/types"],
  "core/operators": ["core/graph", "core/state", "core/time", "core/data", "core/types"],
  "core/connectors": ["core/operators", "core/graph", "core/state", "core/time", "core/data", "core/types"],
  "core/runtime": ["core/connectors", "core/operators", "core/graph", "core/state", "core/time", "core/data", "core/types"],
  "core/api": ["core/runtime", "core/connectors", "core/operators", "core/graph", "core/state", "core/time", "core/data", "core/types"],
  "core/table": ["core/api", "core/connectors", "core/operators", "core/graph", "core/time", "core/data", "core/types"],
  // A door of its own: steps the runtime's own tasks, so it knows what the one-thread executor knows.
  "core/testing": ["core/api", "core/runtime", "core/operators", "core/graph", "core/state", "core/time", "core/data", "core/types"],
  // Libraries use what users use; one that needs more shows what the API lacks.
  "core/lib": ["core/table", "core/api", "core/types"],
  // The light door, for threads that run functions: none of the rooms that users write programs with.
  "core/functions": ["core/operators", "core/state", "core/types"],
  core: ["core/*"],
  // What processes say to each other speaks of jobs as data, never of what runs in them.
  "cluster/protocol": ["core/graph", "core/state", "core/types"],
  "cluster/code": ["core/types"],
  "cluster/exchange": ["core/runtime", "core/data", "core/types"],
  "cluster/storage": ["core/state", "core/types"],
  "cluster/rest": ["cluster/protocol", "core/graph", "core/types"],
  // The JobManager, the TaskManager and the client meet in the protocol alone.
  // Of core/state what a snapshot is as data, and how one is dealt out.
  "cluster/jobmanager": ["cluster/rest", "cluster/storage", "cluster/protocol", "core/graph", "core/state", "core/data", "core/types"],
  "cluster/taskmanager": ["cluster/exchange", "cluster/code", "cluster/storage", "cluster/protocol", "core/runtime", "core/*"],
  // Whoever reads a savepoint needs no cluster, only its manifest.
  "cluster/client": ["cluster/code", "cluster/protocol", "cluster/storage", "core/*"],
  "cluster/configuration-file": ["core/types"],
  // Starts roles as processes: by the address of their file, not by importing them.
  "cluster/local": ["cluster/client", "cluster/protocol", "cluster/configuration-file", "core/*"],
  "cluster/cli": ["cluster/*", "core/*"],
  cluster: ["cluster/*", "core/*"],
  // Of cluster/storage the manifests: what a checkpoint holds is drawn from them.
  notebook: ["cluster", "cluster/client", "cluster/local", "cluster/code", "cluster/protocol", "cluster/storage", "core/*"],
};

/** Packages, and what of Node is a socket, a thread or a process, with the rooms they live in. What is not named here may be used anywhere. */
const homes: Readonly<Record<string, readonly string[]>> = {
  zeromq: ["cluster/protocol", "cluster/exchange", "notebook"],
  msgpackr: ["cluster/protocol"],
  "@aws-sdk/client-s3": ["cluster/storage"],
  valibot: ["cluster/protocol"],
  // Where jobs meet the user.
  rxjs: ["core/api", "core/operators", "cluster/client"],
  acorn: ["cluster/code", "notebook"],
  "@swc/wasm-typescript": ["cluster/cli", "notebook"],
  "@dagrejs/dagre": ["notebook"],
  "plotly.js-dist": ["notebook"],
  tslab: ["notebook"],
  // The kernel's interrupting thread reads a pipe of its process.
  "node:net": ["cluster/protocol", "notebook"],
  "node:http": ["cluster/rest"],
  "node:child_process": ["cluster/local", "notebook"],
  "node:worker_threads": ["cluster/taskmanager", "notebook"],
  // The kernel interrupts loops through it; a task's thread is profiled through it.
  "node:inspector": ["cluster/code", "cluster/taskmanager", "notebook"],
  "node:inspector/promises": ["cluster/code"],
};

const all = [...files.values()];
const addressed = new Set(all.flatMap(({ addresses }) => addresses));

function knows(from: string, to: string): boolean {
  const storey = to.split("/")[0] as string;
  return from === to || (mayKnow[from] ?? []).some((room) => room === to || room === `${storey}/*`);
}

describe("rooms", () => {
  test("every file stands in a room of the house", () => {
    expect(all.filter(({ room }) => !(room in mayKnow)).map(({ name }) => name)).toEqual([]);
  });

  test("a room knows only the rooms below it", () => {
    const broken = all.flatMap((file) =>
      neighbours(file, "all")
        .filter((other) => !knows(file.room, other.room))
        .map((other) => `${file.name} -> ${other.name}: ${file.room} may not know ${other.room}`),
    );
    expect(broken).toEqual([]);
  });

  test("rooms form no cycle", () => {
    const edges = new Map<string, Set<string>>();
    for (const file of all) {
      const known = edges.get(file.room) ?? new Set();
      edges.set(file.room, known);
      for (const other of neighbours(file, "all")) if (other.room !== file.room) known.add(other.room);
    }
    const seen = new Set<string>();
    const cycleFrom = (room: string, trail: readonly string[]): readonly string[] => {
      if (trail.includes(room)) return [...trail.slice(trail.indexOf(room)), room];
      if (seen.has(room)) return [];
      for (const next of edges.get(room) ?? []) {
        const cycle = cycleFrom(next, [...trail, room]);
        if (cycle.length > 0) return cycle;
      }
      seen.add(room);
      return [];
    };
    expect([...edges.keys()].map((room) => cycleFrom(room, [])).find((cycle) => cycle.length > 0) ?? []).toEqual([]);
  });

  test("a package, a socket, a thread or a process is used in its own rooms only", () => {
    const strays = all.flatMap((file) =>
      file.imports
        .filter(({ specifier }) => !(homes[packageOf(specifier)] ?? [file.room]).includes(file.room))
        .map(({ specifier }) => `${file.name} imports ${specifier}, which lives in ${homes[packageOf(specifier)]?.join(", ")}`),
    );
    expect(strays).toEqual([]);
  });

  test("every package that is imported is a dependency", () => {
    const foreign = all.flatMap((file) =>
      file.imports
        .filter(({ specifier }) => !specifier.startsWith(".") && !specifier.startsWith("node:"))
        .filter(({ specifier }) => ({ ...manifest.dependencies, ...manifest.optionalDependencies, ...manifest.peerDependencies })[packageOf(specifier)] === undefined)
        .map(({ specifier }) => `${file.name} imports ${specifier}`),
    );
    expect(foreign).toEqual([]);
  });

  test("core loads without a socket, a thread or a process", () => {
    const reached = [...loadedWith("core/index.ts")];
    const heavy = reached.flatMap((file) =>
      file.imports
        .filter(({ specifier, typeOnly }) => !typeOnly && /^(zeromq|node:(net|tls|http|https|dgram|child_process|worker_threads|cluster))$/.test(specifier))
        .map(({ specifier }) => `${file.name} imports ${specifier}`),
    );
    expect(reached.length).toBeGreaterThan(1);
    expect(heavy).toEqual([]);
  });

  test("a task's thread loads no ZeroMQ: a thread that ends with a socket takes the process along", () => {
    const threads = [...addressed].filter((name) => name.endsWith("-worker.ts"));
    expect(threads).not.toEqual([]);
    const sockets = threads.flatMap((thread) =>
      [...loadedWith(thread)]
        .filter(({ imports }) => imports.some(({ specifier, typeOnly }) => specifier === "zeromq" && !typeOnly))
        .map(({ name }) => `${thread} loads ${name}, which imports zeromq`),
    );
    expect(sockets).toEqual([]);
  });
});

describe("files", () => {
  test("a relative import names a file that exists", () => {
    const lost = all.flatMap((file) =>
      file.imports
        .filter(({ specifier }) => specifier.startsWith(".") && !files.has(targetOf(file, specifier)))
        .map(({ specifier }) => `${file.name} -> ${specifier}`),
    );
    expect(lost).toEqual([]);
  });

  test("every file is a door, a command, named by address, or imported", () => {
    const imported = new Set(all.flatMap((file) => neighbours(file, "all").map(({ name }) => name)));
    const lonely = all.filter(({ name }) => ![doors, commands, addressed, imported].some((known) => known.has(name)));
    expect(lonely.map(({ name }) => name)).toEqual([]);
  });

  test("every file begins with a comment that says what it is", () => {
    expect(all.filter(({ text }) => !/^(#!.*\n)?\/\*\*/.test(text)).map(({ name }) => name)).toEqual([]);
  });

  test("no line is longer than 140 characters, except for a text in it", () => {
    expect(all.flatMap(({ name, longLines }) => longLines.map((line) => `${name}:${line}`))).toEqual([]);
  });

  test("nothing awaits while a file is loaded: require() of the package would fail", () => {
    expect(all.filter(({ awaitsAtLoad }) => awaitsAtLoad).map(({ name }) => name)).toEqual([]);
  });

  test("names say what a thing is: no factories, helpers, utilities, implementations", () => {
    const empty = /Factory|Manager|Helper|Util|Impl(?![a-z])|Abstract|Provider/;
    const inherited = /^Base[A-Z]|Base$/;
    // The field's own nouns.
    const nouns = /(Job|Task|Resource)Manager/g;
    const pascal = (kebab: string): string => kebab.replace(/(?:^|-)(\w)/g, (_, letter: string) => letter.toUpperCase());
    const named = all.flatMap(({ name, types }) => [
      ...name.replace(/\.ts$/, "").split("/").map((part) => ({ name, said: pascal(part), isClass: true })),
      ...types.map((type) => ({ name, said: type.name, isClass: type.isClass })),
    ]);
    const poor = named.filter(({ said, isClass }) => empty.test(said.replace(nouns, "")) || (isClass && inherited.test(said)));
    expect(poor.map(({ name, said }) => `${name}: ${said}`)).toEqual([]);
  });
});

describe("documents", () => {
  test("a file that a document names exists", () => {
    const documents = [...readdirSync(house), ...readdirSync(path.join(house, "docs")).map((name) => `docs/${name}`)].filter(
      (name) => name.endsWith(".md") && name !== "CHANGELOG.md",
    );
    const names = ["src", "test", "examples", "scripts"].flatMap((folder) =>
      readdirSync(path.join(house, folder), { recursive: true, encoding: "utf8" }).map((name) => `/${folder}/${name.split(path.sep).join("/")}`),
    );
    const lost = documents.flatMap((document) =>
      [...readFileSync(path.join(house, document), "utf8").matchAll(/`([\w./-]+\.(?:ts|mjs))`/g)]
        .map((match) => match[1] as string)
        .filter((named) => !names.some((name) => name.endsWith(`/${named}`)))
        .map((named) => `${document}: ${named}`),
    );
    expect(lost).toEqual([]);
  });
});

describe("exports", () => {
  test("everything exported says what it promises", () => {
    const silent = all.flatMap((file) => file.exports.filter(({ documented }) => !documented).map(({ name, line }) => `${file.name}:${line} ${name}`));
    expect(silent).toEqual([]);
  });

  test("only doors export what another file declares", () => {
    expect(all.filter(({ name, passesOn }) => passesOn && !doors.has(name)).map(({ name }) => name)).toEqual([]);
  });

  test("doors name what they export one by one", () => {
    expect(all.filter(({ text }) => /^export \*/m.test(text)).map(({ name }) => name)).toEqual([]);
  });

  test("every door leads to a file, and old resolution finds it too, in typesVersions", () => {
    const paths = Object.entries(manifest.exports).flatMap(([door, to]) => (typeof to === "string" || door === "." ? [] : [[door.slice(2), [to.types]]]));
    expect([...doors, ...commands].filter((name) => !exists(name))).toEqual([]);
    expect(manifest.typesVersions["*"]).toEqual(Object.fromEntries(paths));
  });
});
