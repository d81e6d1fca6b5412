/** The directory's folder in memory: each write is whole and durable, and a crash comes between two of them. */
import { ValiseError } from "../../protocol/errors.ts"
import type { DirectoryFiles } from "../../directory/directory.ts"
import type { Files } from "../../directory/files.ts"

export class MemoryFolder {
  readonly #bytes: Map<string, Uint8Array>
  /** Writes until the process dies; `undefined`: it lives. */
  #writesLeft: number | undefined

  constructor(bytes: ReadonlyMap<string, Uint8Array> = new Map()) {
    this.#bytes = new Map(bytes)
  }

  copy(): MemoryFolder {
    return new MemoryFolder(this.#bytes)
  }

  /** All writes after the next `count` are lost, until `restart`. */
  failAfter(count: number): void {
    this.#writesLeft = count
  }

  restart(): void {
    this.#writesLeft = undefined
  }

  get directoryFiles(): DirectoryFiles {
    return { own: this.#within(""), log: this.#within("log/"), proposals: this.#within("proposals/") }
  }

  #within(prefix: string): Files {
    const bytes = this.#bytes
    return {
      read: async (path) => bytes.get(prefix + path),
      write: async (path, content) => {
        this.#mayWrite()
        bytes.set(prefix + path, content.slice())
      },
      remove: async (path) => {
        this.#mayWrite()
        for (const name of bytes.keys())
          if (name === prefix + path || name.startsWith(`${prefix}${path}/`)) bytes.delete(name)
      },
      list: async (path) => {
        const within = path === "." ? prefix : `${prefix}${path}/`
        const names = [...bytes.keys()].filter((name) => name.startsWith(within))
        return [...new Set(names.map((name) => name.slice(within.length).split("/")[0]!))].toSorted()
      },
    }
  }

  #mayWrite(): void {
    if (this.#writesLeft === undefined) return
    if (this.#writesLeft === 0) throw new ValiseError("ERR_DISK", "the disk of the directory fails")
    this.#writesLeft--
  }
}
