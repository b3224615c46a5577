/**
 * Where the notebook's folder has no drey, its cells get the drey that the kernel came with, in their imports and in their types: a
 * notebook may lie anywhere.
 */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** A folder and all above it. */
export function ancestors(folder: string): string[] {
  const parent = dirname(folder);
  return parent === folder ? [folder] : [folder, ...ancestors(parent)];
}

const hasDrey = (folder: string): boolean => ancestors(folder).some((place) => existsSync(join(place, "node_modules/drey/package.json")));

const MANIFEST = new URL("../../../../package.json", import.meta.url);

type Doors = Readonly<Record<string, { readonly types?: string; readonly default?: string }>>;

const doors = (): Doors => (JSON.parse(readFileSync(MANIFEST, "utf8")) as { exports: Doors }).exports;

/** For TypeScript's `paths`; empty where the folder has a drey of its own. */
export function typesOfDrey(folder: string): Record<string, string[]> {
  if (hasDrey(folder)) return {};
  return Object.fromEntries(
    Object.entries(doors()).flatMap(([door, { types }]) =>
      types === undefined ? [] : [[door.replace(".", "drey"), [fileURLToPath(new URL(types, MANIFEST))]]],
    ),
  );
}

/** What a cell in this folder imports when it says a specifier. */
export function importOfDrey(folder: string): (specifier: string) => string {
  if (hasDrey(folder)) return (specifier) => specifier;
  const own = doors();
  return (specifier) => {
    const target = /^drey(\/|$)/.test(specifier) ? own[specifier.replace("drey", ".")]?.default : undefined;
    return target === undefined ? specifier : new URL(target, MANIFEST).href;
  };
}
