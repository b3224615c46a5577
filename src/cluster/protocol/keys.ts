/**
 * Keys for links that strangers could reach: CURVE encrypts and proves who is who, and a server admits only the public keys on its list.
 *
 * libzmq asks about every new connection through ZAP (RFC 27): a question on a socket inside the process. There can be one doorkeeper per
 * process, so all servers share the one in this file, each under a domain of its own. Invariant: a server with keys answers nobody whose
 * key is not on its list, also while the doorkeeper is starting, gone or confused (`zapEnforceDomain`).
 */
import { Router, curveKeyPair } from "zeromq";
import { ConfigurationError, describe } from "../../core/types/errors.ts";
import { closeSocket } from "./close-socket.ts";

/** A CURVE key pair; each key is 40 characters of Z85. The secret key is never logged nor put into an error. */
export interface KeyPair {
  readonly publicKey: string;
  readonly secretKey: string;
}

/** What a server needs to be reachable safely. */
export interface ServerKeys {
  readonly own: KeyPair;
  /** The public keys of the clients that may connect. A set may change while the server runs: new connections see it. */
  readonly allowed: ReadonlySet<string>;
}

/** What a client needs to reach such a server, and no impostor. */
export interface ClientKeys {
  readonly own: KeyPair;
  /** The public key of the server. */
  readonly server: string;
}

/** A fresh random key pair. */
export function newKeyPair(): KeyPair {
  return curveKeyPair();
}

/** @throws ConfigurationError when the text is not a key; `what` names it, its value is not repeated. */
export function requireKey(text: string, what: string): string {
  if (keyBytes(text) === undefined) throw new ConfigurationError(`${what} is not a CURVE key: a key has 40 characters of Z85.`);
  return text;
}

const Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
const KEY_BYTES = 32;

function keyBytes(text: string): Buffer | undefined {
  if (text.length !== 40) return undefined;
  const bytes = Buffer.alloc(KEY_BYTES);
  for (let group = 0; group < 8; group++) {
    let value = 0;
    for (const char of text.slice(group * 5, group * 5 + 5)) {
      const digit = Z85.indexOf(char);
      if (digit < 0) return undefined;
      value = value * 85 + digit;
    }
    if (value > 0xffff_ffff) return undefined;
    bytes.writeUInt32BE(value, group * 4);
  }
  return bytes;
}

function keyText(bytes: Uint8Array): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let text = "";
  for (let group = 0; group < KEY_BYTES / 4; group++) {
    const value = view.getUint32(group * 4);
    for (let power = 85 ** 4; power >= 1; power /= 85) text += Z85[Math.floor(value / power) % 85];
  }
  return text;
}

const ZAP_ADDRESS = "inproc://zeromq.zap.01";

/** Who may enter which domain. The doorkeeper stands at the door while there is one domain at least. */
const domains = new Map<string, ReadonlySet<string>>();
let doorkeeper: Router | undefined;
/** Opening and closing the door happen one after the other: libzmq knows one address for it. */
let doorWork: Promise<void> = Promise.resolve();

/** Has the doorkeeper admit `allowed` into `domain`, until `dismiss`. Resolves when it stands at the door. */
export async function admit(domain: string, allowed: ReadonlySet<string>): Promise<void> {
  if (domains.has(domain)) throw new ConfigurationError(`the security domain ${describe(domain)} is in use in this process.`);
  for (const key of allowed) requireKey(key, "a key on the allow list");
  domains.set(domain, allowed);
  await settleDoor();
}

/** Closes a domain: nobody is admitted to it any more. Resolves when the doorkeeper has gone, if it was the last. */
export async function dismiss(domain: string): Promise<void> {
  domains.delete(domain);
  await settleDoor();
}

function settleDoor(): Promise<void> {
  const work = doorWork.then(async () => {
    if (domains.size > 0 && doorkeeper === undefined) {
      const socket = new Router({ linger: 0, sendTimeout: 0 });
      socket.bindSync(ZAP_ADDRESS);
      doorkeeper = socket;
      void keepDoor(socket);
    } else if (domains.size === 0 && doorkeeper !== undefined) {
      const socket = doorkeeper;
      doorkeeper = undefined;
      await closeSocket(socket);
    }
  });
  doorWork = work.catch(() => undefined);
  return work;
}

async function keepDoor(socket: Router): Promise<void> {
  try {
    for await (const frames of socket) {
      // The envelope of a ROUTER ends with an empty frame; then: version, request id, domain, address, identity, mechanism, credentials.
      const border = frames.findIndex((frame) => frame.length === 0);
      const [version, requestId, domain, , , mechanism, key] = frames.slice(border + 1);
      if (border < 0 || requestId === undefined) continue;
      const known = String(version) === "1.0" && String(mechanism) === "CURVE" && key?.length === KEY_BYTES;
      const name = known ? keyText(key) : "";
      const admitted = known && domains.get(String(domain))?.has(name) === true;
      const verdict = admitted ? ["200", "OK"] : ["400", "this key is not on the allow list"];
      await socket
        .send([...frames.slice(0, border + 1), "1.0", requestId, ...verdict, admitted ? name : "", ""])
        .catch(() => undefined);
    }
  } catch {
    // Only a failing context ends the loop before the socket is closed; without a doorkeeper libzmq admits nobody to an enforced domain.
  }
}
