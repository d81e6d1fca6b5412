/** Appends to a log until it is killed (or `--appends` times), saying each acknowledged size on its standard output. */
import { writeSync } from "node:fs"
import { utf8 } from "../../protocol/bytes.ts"
import { SigningKey } from "../../protocol/primitives.ts"
import { durableFiles } from "../../directory/files.ts"
import { LogWriter } from "../../directory/log-writer.ts"
import { nodeClock } from "../../system/node.ts"

const [folder, appends] = process.argv.slice(2)
const options = {
  files: durableFiles(folder!),
  origin: "directory.example/log",
  key: new SigningKey(new Uint8Array(32).fill(1)),
  clock: nodeClock,
}
const writer = (await options.files.read("checkpoint"))
  ? await LogWriter.open(options)
  : await LogWriter.create(options)
for (let left = Number(appends ?? Infinity); left > 0; left--) {
  const batch = 1 + (writer.size % 7) * 9
  await writer.append(Array.from({ length: batch }, (_, i) => utf8(`entry ${writer.size + i}`)))
  writeSync(1, `${writer.size}\n`)
}
await writer.close()
