/** `drey keys`: a key pair for clusters that other machines can reach. */
import { options as optionsByName } from "../../core/types/options.ts";
import { writeKeyFile } from "../protocol/key-file.ts";
import { type Command, UsageError, readArguments } from "./command.ts";

const flags = {} as const;

export const keysCommand: Command = {
  name: "keys",
  summary: "makes a key, for clusters that other machines can reach",
  usage: ["keys <file>"],
  flags,
  notes: [
    "Give the file to every process of the cluster and to those who may use it:",
    "",
    `  drey jobmanager  -a tcp://10.0.0.1:6123 -D${optionsByName.keyFile.key}=<file>`,
    `  drey taskmanager -m tcp://10.0.0.1:6123 -D${optionsByName.keyFile.key}=<file> -D${optionsByName.taskManagerBindHost.key}=10.0.0.2`,
    `  drey run         -m tcp://10.0.0.1:6123 -D${optionsByName.keyFile.key}=<file> job.ts`,
    "",
    "Whoever has it may run any code on the cluster. A program can have a key of its own instead: the JobManager gets its public key in",
    `${optionsByName.allowedKeys.key}, and the program the JobManager's in ${optionsByName.jobManagerKey.key}.`,
  ].join("\n"),
  async run(args) {
    const { positionals } = readArguments(args, flags);
    const [file] = positionals;
    if (file === undefined || positionals.length > 1) throw new UsageError("`drey keys` needs the name of one file to write.");
    process.stdout.write(`${writeKeyFile(file)}\n`);
    process.stderr.write(`The key is in ${file}; above is its public part.\n`);
    return 0;
  },
};
