/** A folder for what jobs of one program leave to each other. Made when first asked for; goes with the program, or is swept later. */
import { mkdirSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeOwnFolder } from "../types/own-folder.ts";

export class WorkFolder {
  readonly #parent: string;
  #path: string | undefined;
  #made = 0;
  readonly #remove = (): void => this.remove();

  /** @param parent empty: the system's folder for temporary files. */
  constructor(parent: string) {
    this.#parent = parent === "" ? tmpdir() : parent;
  }

  /** A path in it that nobody else has. */
  place(name: string): string {
    if (this.#path === undefined) {
      mkdirSync(this.#parent, { recursive: true });
      this.#path = makeOwnFolder("data", this.#parent);
      process.once("exit", this.#remove);
    }
    return join(this.#path, `${++this.#made}-${name}`);
  }

  /** One place takes another's name. */
  rename(from: string, to: string): void {
    renameSync(from, to);
  }

  /** Nobody needs what is in this place. */
  discard(place: string): void {
    rmSync(place, { recursive: true, force: true });
  }

  /** Removes it with all that is in it. */
  remove(): void {
    if (this.#path === undefined) return;
    process.off("exit", this.#remove);
    rmSync(this.#path, { recursive: true, force: true });
    this.#path = undefined;
  }
}
