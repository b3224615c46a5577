/**
 * Where a role listens: `ipc://` (a socket file, for processes of one user on one machine) or `tcp://`.
 *
 * Whoever reaches the control plane may run any code on the cluster, so an address is also a statement about who can reach it. This file
 * keeps one invariant: without CURVE keys nobody but this user's own machine is reachable. A socket file lives in a folder that only its
 * owner may enter, plain TCP stays on the loopback interface, and everything wider is refused with the cure.
 */
import { rmSync, rmdirSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, isAbsolute, join } from "node:path";
import { ConfigurationError, ConnectionError, describe } from "../../core/types/errors.ts";
import { OWN_FOLDER_PREFIX, makeOwnFolder } from "../../core/types/own-folder.ts";

/** A validated address. `port` 0 stands for `*`: the operating system chooses one when the server binds. */
export type Address =
  | { readonly transport: "ipc"; readonly path: string }
  | { readonly transport: "tcp"; readonly host: string; readonly port: number };

/** The longest path of a socket file that both Linux (108 bytes) and macOS (104 bytes) can bind, with the final NUL. */
const MAX_SOCKET_PATH_BYTES = 100;

/**
 * Reads `ipc:///absolute/path`, `tcp://host:port`, `tcp://[::1]:port`; a port `*` means any free one.
 * @param what names the address in the error message, for example the option it came from.
 * @throws ConfigurationError when it is none of these, or when a socket path is relative, abstract (`@…`) or too long for the system.
 */
export function parseAddress(text: string, what = "address"): Address {
  const found = /^(ipc|tcp):\/\/([^\s\0]+)$/.exec(text);
  if (found === null) throw new ConfigurationError(`${what} is ${describe(text)}; give tcp://host:port or ipc:///path/to/socket.`);
  const rest = found[2] as string;
  return found[1] === "ipc" ? parseSocketPath(rest, text, what) : parseHostAndPort(rest, text, what);
}

/** The text that `parseAddress` reads back. */
export function formatAddress(address: Address): string {
  if (address.transport === "ipc") return `ipc://${address.path}`;
  const host = address.host.includes(":") ? `[${address.host}]` : address.host;
  return `tcp://${host}:${address.port === 0 ? "*" : address.port}`;
}

/** Whether only processes of this machine can reach the host: `localhost`, 127.0.0.0/8 or `::1`. Names are not resolved. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(?:\.\d{1,3}){3}$/.test(host);
}

/**
 * Refuses an address that strangers could reach without a key. Called by every server before it binds and every client before it connects.
 * @param encrypted whether the link has CURVE keys; then every address passes.
 * @throws ConfigurationError for TCP beyond loopback, and for a socket file in a folder that other users may enter; ConnectionError when
 * that folder does not exist.
 */
export function requireGuarded(address: Address, encrypted: boolean): void {
  if (encrypted) return;
  if (address.transport === "tcp") {
    if (isLoopback(address.host)) return;
    throw new ConfigurationError(
      `${formatAddress(address)} is reachable from other machines, and whoever reaches it may run any code on the cluster. ` +
        "Give both sides CURVE keys (`drey keys`), or use tcp://127.0.0.1:port or an ipc:// address.",
    );
  }
  const folder = dirname(address.path);
  const stats = statSync(folder, { throwIfNoEntry: false });
  if (stats === undefined) {
    throw new ConnectionError(
      `the folder of ${formatAddress(address)} does not exist, so nobody listens there; is the JobManager running?`,
    );
  }
  const mode = stats.mode & 0o777;
  const owner = process.getuid?.();
  if ((mode & 0o077) !== 0 || (owner !== undefined && owner !== 0 && stats.uid !== owner)) {
    throw new ConfigurationError(
      `the folder of ${formatAddress(address)} is open to other users (mode 0${mode.toString(8)}, user ${stats.uid}), ` +
        "and whoever reaches the socket may run any code on the cluster. " +
        "Use a folder of your own with mode 0700, or give both sides CURVE keys (`drey keys`).",
    );
  }
}

/** A fresh folder for the socket files of one local cluster. */
export interface SocketFolder {
  /** An absolute path; the folder has mode 0700. */
  readonly path: string;
  /** The address of the socket file `name` in it. @throws ConfigurationError when the path is too long for the system. */
  address(name: string): string;
  /** Deletes the folder and what is in it. Harmless when it is gone already. */
  remove(): void;
}

/**
 * Makes a folder for socket files under the system's temporary folder; whoever makes it removes it. What is left when everybody who used
 * one was killed goes when the next is made.
 * @param parent another place to make it in.
 * @throws ConfigurationError when the paths in it would be too long to bind.
 */
export function makeSocketFolder(parent: string = tmpdir()): SocketFolder {
  const path = makeOwnFolder("", parent);
  const address = (name: string): string => formatAddress(parseAddress(`ipc://${join(path, name)}`, "the socket's address"));
  const remove = (): void => rmSync(path, { recursive: true, force: true });
  try {
    address("jobmanager");
  } catch (error) {
    remove();
    throw error;
  }
  return { path, address, remove };
}

/** Removes the file of a socket that was bound here and is closed; libzmq leaves it. Harmless for other addresses. */
export function removeSocketFile(address: string): void {
  if (address.startsWith("ipc://")) rmSync(address.slice("ipc://".length), { force: true });
}

/**
 * Removes the folder that a socket was in, if `makeSocketFolder` made it and nothing is left in it: the last role of a cluster whose owner
 * was killed does this in its place.
 */
export function leaveSocketFolder(address: string): void {
  const path = address.startsWith("ipc://") ? dirname(address.slice("ipc://".length)) : "";
  if (!basename(path).startsWith(OWN_FOLDER_PREFIX)) return;
  try {
    rmdirSync(path);
  } catch {
    // Others are still in it, or it is gone.
  }
}

function parseSocketPath(path: string, text: string, what: string): Address {
  if (!isAbsolute(path)) {
    throw new ConfigurationError(`${what} is ${describe(text)}; the path of a socket must be absolute, as in ipc:///tmp/mine/socket.`);
  }
  const bytes = Buffer.byteLength(path);
  if (bytes > MAX_SOCKET_PATH_BYTES) {
    throw new ConfigurationError(
      `${what} ${describe(text, 300)} has a path of ${bytes} bytes; a socket's path can have ${MAX_SOCKET_PATH_BYTES}. ` +
        "Use a shorter folder (set TMPDIR=/tmp).",
    );
  }
  return { transport: "ipc", path };
}

function parseHostAndPort(rest: string, text: string, what: string): Address {
  const found = /^(?:\[([0-9a-f:.%]+)\]|([A-Za-z0-9._*-]+)):(\*|\d{1,5})$/i.exec(rest);
  const port = found === null ? Number.NaN : found[3] === "*" ? 0 : Number(found[3]);
  if (found === null || !(port <= 65_535) || (found[3] !== "*" && port === 0)) {
    throw new ConfigurationError(`${what} is ${describe(text)}; give tcp://host:port with a port from 1 to 65535, or * for any free one.`);
  }
  return { transport: "tcp", host: (found[1] ?? found[2]) as string, port };
}
