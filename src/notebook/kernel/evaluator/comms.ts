/**
 * Comms: channels between a cell and something in the page. Either side opens one and closes it. A page that knows no receiver for a
 * kernel's comm closes it at once, and so the kernel learns what the page can do.
 */
import { randomUUID } from "node:crypto";
import { answer } from "./answers.ts";
import type { CommMessage, RequestNumber } from "./protocol.ts";
import { presentRequest, within } from "./running.ts";

/** What comes through a comm. */
export interface CommListener {
  message?(data: unknown, buffers: readonly Uint8Array[]): void;
  /** The page has closed it, or never knew it. */
  closed?(): void;
}

/** One open comm. */
export interface Comm {
  readonly id: string;
  send(data: unknown, buffers?: readonly Uint8Array[]): void;
  close(data?: unknown): void;
}

/** All comms of this kernel; on globalThis as `Symbol.for("drey.comms")`. */
export class Comms {
  /** With the request of the cell that opened it: what a listener says belongs under that cell. */
  readonly #open = new Map<string, { readonly request: RequestNumber; readonly listener: CommListener }>();
  readonly #targets = new Map<string, (comm: Comm, data: unknown) => CommListener>();

  /** Opens a comm to what the page calls `target`. Its messages belong to the present cell. */
  open(
    target: string,
    data: unknown,
    listener: CommListener = {},
    { metadata = {}, buffers = [] }: { metadata?: Readonly<Record<string, unknown>>; buffers?: readonly Uint8Array[] } = {},
  ): Comm {
    const id = randomUUID().replaceAll("-", "");
    const request = presentRequest();
    this.#open.set(id, { request, listener });
    answer({ kind: "comm", request, type: "comm_open", id, target, data, metadata, buffers });
    return this.#comm(id, request);
  }

  /** Answers comms that the page opens. */
  receive(target: string, opened: (comm: Comm, data: unknown) => CommListener): void {
    this.#targets.set(target, opened);
  }

  /** Takes a message of the page. @param request which it belongs to. */
  take(request: RequestNumber, { type, id, target, data, buffers }: CommMessage): void {
    if (type === "comm_open") return within(request, () => this.#opened(request, id, target ?? "", data));
    const opened = this.#open.get(id);
    if (opened === undefined) return;
    if (type === "comm_close") this.#open.delete(id);
    within(opened.request, () => {
      if (type === "comm_close") opened.listener.closed?.();
      else opened.listener.message?.(data, buffers);
    });
  }

  #opened(request: RequestNumber, id: string, target: string, data: unknown): void {
    const opened = this.#targets.get(target);
    if (opened === undefined) return answer({ kind: "comm", request, type: "comm_close", id, data: {}, metadata: {}, buffers: [] });
    this.#open.set(id, { request, listener: {} });
    this.#open.set(id, { request, listener: opened(this.#comm(id, request), data) });
  }

  #comm(id: string, request: RequestNumber): Comm {
    const say = (type: CommMessage["type"], data: unknown, buffers: readonly Uint8Array[]): void => {
      if (this.#open.has(id)) answer({ kind: "comm", request, type, id, data, metadata: {}, buffers });
    };
    return {
      id,
      send: (data, buffers = []) => say("comm_msg", data, buffers),
      close: (data = {}) => {
        say("comm_close", data, []);
        this.#open.delete(id);
      },
    };
  }
}
