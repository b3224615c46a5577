/**
 * A JobManager that does not lead yet, as others see it: it listens at its address, begins no sessions, and says to whoever greets where
 * the leader is. So those who were given the addresses of all JobManagers find the one that leads at the first try.
 *
 * It is a courtesy, and nothing depends on it: where the address can't be had (the leader of now may have it, on the same machine), it
 * stays silent.
 */
import { removeSocketFile } from "../protocol/addresses.ts";
import type { ServerKeys } from "../protocol/keys.ts";
import { RpcServer } from "../protocol/rpc.ts";

export interface StandbyOptions {
  /** Where the JobManager will listen when it leads. */
  readonly address: string;
  readonly keys?: ServerKeys;
  /** Where the leader is, as far as is known. */
  readonly leader: () => string | undefined;
  /** Takes lines for whoever runs the cluster. */
  readonly note: (text: string) => void;
}

/** Answers from the moment that it is made. Its owner closes it before the JobManager listens at the same address. */
export class Standby {
  readonly #server: RpcServer<Record<never, never>, Record<never, never>>;
  #closing: Promise<void> | undefined;
  /** Where, or undefined when it can't. */
  readonly #listening: Promise<string | undefined>;

  constructor({ address, keys, leader, note }: StandbyOptions) {
    this.#server = new RpcServer({
      address,
      epoch: 0,
      served: {},
      handlers: {},
      called: {},
      standby: leader,
      onError: (error) => note(`unexpected: ${error.stack ?? error.message}`),
      ...(keys === undefined ? {} : { keys }),
    });
    this.#listening = this.#server.start().catch((error: Error) => {
      note(`while it stands by, it does not answer at ${address}: ${error.message}`);
      return undefined;
    });
  }

  /** Resolves when the address is free. Closing twice is harmless. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const bound = await this.#listening;
    await this.#server.close();
    if (bound !== undefined) removeSocketFile(bound);
  }
}
