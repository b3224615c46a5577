/** The file in which a front end tells its kernel where to listen, and with which key messages are signed. */
import { readFileSync } from "node:fs";
import { ConfigurationError, describe } from "../../core/types/errors.ts";

/** The five sockets of a kernel. */
export const CHANNELS = ["shell", "iopub", "stdin", "control", "hb"] as const;

/** One of the five. */
export type Channel = (typeof CHANNELS)[number];

/** Where to listen. */
export interface Connection {
  readonly addresses: Readonly<Record<Channel, string>>;
  /** Empty: messages are not signed. */
  readonly key: string;
}

/** Reads a connection file. @throws ConfigurationError that quotes what is wrong in it. */
export function readConnectionFile(file: string): Connection {
  let read: Record<string, unknown>;
  try {
    read = JSON.parse(readFileSync(file, "utf8")) as Record<string, unknown>;
  } catch (cause) {
    throw new ConfigurationError(`the connection file ${file} can't be read: ${(cause as Error).message}`, { cause });
  }
  const { transport = "tcp", ip = "127.0.0.1", key = "", signature_scheme: scheme = "hmac-sha256" } = read;
  if (transport !== "tcp" && transport !== "ipc") {
    throw new ConfigurationError(`${file}: transport is ${describe(transport)}; the kernel knows "tcp" and "ipc".`);
  }
  if (scheme !== "hmac-sha256" && key !== "") {
    throw new ConfigurationError(`${file}: signature_scheme is ${describe(scheme)}; the kernel knows "hmac-sha256".`);
  }
  if (typeof ip !== "string" || typeof key !== "string") throw new ConfigurationError(`${file}: ip and key must be texts.`);
  const addressOf = (channel: Channel): string => {
    const port = read[`${channel}_port`];
    if (typeof port !== "number" && typeof port !== "string")
      throw new ConfigurationError(`${file}: ${channel}_port is ${describe(port)}; it must be a port.`);
    return transport === "ipc" ? `ipc://${ip}-${port}` : `tcp://${ip}:${port}`;
  };
  return { key, addresses: Object.fromEntries(CHANNELS.map((channel) => [channel, addressOf(channel)])) as Connection["addresses"] };
}
