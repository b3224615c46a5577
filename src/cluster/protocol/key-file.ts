/**
 * Key pairs in files, and which of them a process shows and accepts. In the simplest cluster one file is given to every process of it and
 * to those who may use it: whoever has the file belongs to the cluster, and nobody else gets past the handshake. Clients can have pairs of
 * their own instead; then the JobManager lists their public keys, and they know its.
 *
 * Invariant: a key file that others on the machine could read is refused; a secret key is never printed nor put into an error.
 */
import { closeSync, openSync, readFileSync, statSync, writeSync } from "node:fs";
import { ConfigurationError } from "../../core/types/errors.ts";
import { type Configuration, options } from "../../core/types/options.ts";
import { type ClientKeys, type KeyPair, type ServerKeys, newKeyPair, requireKey } from "./keys.ts";

const HEAD = "# A key of a drey cluster. Whoever has the secret key may run any code on the cluster: keep this file to yourself.\n";

/**
 * Makes a new key pair and writes it to a file that only this user can read. Returns the public key.
 * @throws ConfigurationError when the file exists, or can't be written.
 */
export function writeKeyFile(path: string): string {
  const { publicKey, secretKey } = newKeyPair();
  let file: number;
  try {
    file = openSync(path, "wx", 0o600);
  } catch (error) {
    const exists = (error as NodeJS.ErrnoException).code === "EEXIST";
    throw new ConfigurationError(
      exists ? `${path} exists; a key is never written over. Name another file.` : `${path} can't be written: ${(error as Error).message}.`,
      { cause: error },
    );
  }
  try {
    writeSync(file, `${HEAD}public ${publicKey}\nsecret ${secretKey}\n`);
  } finally {
    closeSync(file);
  }
  return publicKey;
}

/** Reads a key file. @throws ConfigurationError when it is missing, is no key file, or can be read by other users. */
export function readKeyFile(path: string): KeyPair {
  let text: string;
  let mode: number;
  try {
    mode = statSync(path).mode & 0o777;
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new ConfigurationError(`the key file ${path} can't be read: ${(error as Error).message}. \`drey keys ${path}\` makes one.`, {
      cause: error,
    });
  }
  if (process.platform !== "win32" && (mode & 0o077) !== 0) {
    throw new ConfigurationError(
      `the key file ${path} can be read by other users (mode 0${mode.toString(8)}); whoever has it may run any code on the cluster. ` +
        `Make a new one with \`drey keys\`, or if nobody has seen it: chmod 600 ${path}`,
    );
  }
  const keyAfter = (word: string): string => new RegExp(`^${word} (\\S+)$`, "m").exec(text)?.[1] ?? "";
  return {
    publicKey: requireKey(keyAfter("public"), `what stands after "public" in ${path}`),
    secretKey: requireKey(keyAfter("secret"), `what stands after "secret" in ${path}`),
  };
}

/** The key pair of this process; undefined: it has none. @throws ConfigurationError as `readKeyFile`. */
export function ownKeys(configuration: Configuration): KeyPair | undefined {
  const path = configuration.get(options.keyFile);
  return path === "" ? undefined : readKeyFile(path);
}

/** What a JobManager shows, and whom it admits: those with its own key, and those on its list. Undefined: it has no keys. */
export function serverKeys(configuration: Configuration): ServerKeys | undefined {
  const own = ownKeys(configuration);
  if (own === undefined) return undefined;
  const listed = configuration.get(options.allowedKeys).split(",").map((key) => key.trim()).filter((key) => key !== "");
  for (const key of listed) requireKey(key, `a key in ${options.allowedKeys.key}`);
  return { own, allowed: new Set([own.publicKey, ...listed]) };
}

/** What a TaskManager or a program shows to its JobManager. Undefined: it has no keys. */
export function clientKeys(configuration: Configuration): ClientKeys | undefined {
  const own = ownKeys(configuration);
  if (own === undefined) return undefined;
  return { own, server: configuration.get(options.jobManagerKey) || own.publicKey };
}
