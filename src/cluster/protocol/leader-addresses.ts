/**
 * Which address a process dials next when it looks for the leader among several JobManagers. It knows addresses from three places, and
 * believes none of them for long: those that it was given, in turn; the one that the leader has published in shared storage; and the one
 * that a standby has named.
 *
 * Invariant: each address that was given is tried again and again, whatever the others say; what standbys say is followed MAX_HOPS times in
 * a row at the most. Who is dialled proves by its keys that it belongs to the cluster, and by its epoch that it leads. Pure: it has no
 * socket, and no clock.
 */
import { ConfigurationError, describe } from "../../core/types/errors.ts";
import { type Address, formatAddress, parseAddress } from "./addresses.ts";

/** How often what a standby says is followed before the others are tried again. */
const MAX_HOPS = 4;

/**
 * Reads one address or several, separated by commas.
 * @param what names them in the error message.
 * @throws ConfigurationError that names the one at fault.
 */
export function parseAddresses(text: string, what: string): readonly Address[] {
  const items = text.split(",").map((item) => item.trim());
  if (items.length === 1) return [parseAddress(text.trim(), what)];
  return items.map((item, index) => {
    if (item === "") throw new ConfigurationError(`${what} is ${describe(text)}, whose address ${index + 1} is empty; put one comma between two.`);
    return parseAddress(item, `address ${index + 1} of ${what} (${describe(text)})`);
  });
}

/** The addresses of one client. */
export class LeaderAddresses {
  readonly #given: readonly string[];
  #published: string | undefined;
  #current: string | undefined;
  #hops = 0;

  /** @param given may be empty where a leader publishes its address. */
  constructor(given: readonly Address[]) {
    this.#given = given.map(formatAddress);
  }

  /** The one that is dialled now; undefined before the first. */
  get current(): string | undefined {
    return this.#current;
  }

  /** What was published when it was read last. */
  get published(): string | undefined {
    return this.#published;
  }

  /** Whether there is another than the present one. */
  get hasOthers(): boolean {
    return this.#all.some((address) => address !== this.#current);
  }

  /** What the leader has published, as it was read just now. @returns it, when it is news and to be dialled. */
  publish(address: string | undefined): string | undefined {
    const isNews = address !== undefined && address !== this.#published && address !== this.#current;
    this.#published = address;
    return isNews ? (this.#current = address) : undefined;
  }

  /** A standby at the present address says where the leader is. @returns it, when it is to be dialled. */
  follow(leader: string): string | undefined {
    if (leader === this.#current || this.#hops >= MAX_HOPS) return undefined;
    this.#hops++;
    return (this.#current = leader);
  }

  /** Nobody at the present one leads. @returns the one that comes next, perhaps the same; undefined when none is known. */
  next(): string | undefined {
    this.#hops = 0;
    const all = this.#all;
    return (this.#current = all[(all.indexOf(this.#current ?? "") + 1) % all.length] ?? this.#current);
  }

  /** There is a session at the present address. */
  arrived(): void {
    this.#hops = 0;
  }

  get #all(): readonly string[] {
    return [...new Set([...(this.#published === undefined ? [] : [this.#published]), ...this.#given])];
  }
}
