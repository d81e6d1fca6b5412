/** The directory's files on disk: written whole, durable before they count, readable by their owner only. */
import { closeSync, openSync } from "node:fs"
import { mkdir, open, readFile, readdir, rename, rm } from "node:fs/promises"
import { dirname, join, resolve } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { ValiseError } from "../protocol/errors.ts"

/** Paths are relative, with `/`. All errors of the disk are `ERR_DISK`. */
export interface Files {
  /** `undefined` if there is no such file. */
  read(path: string): Promise<Uint8Array | undefined>
  /** Replaces the file; on stable storage, with its name, when resolved. After a crash it holds the old bytes or the new. */
  write(path: string, bytes: Uint8Array): Promise<void>
  /** Removes a file or folder if it is there. Not durable: it may be back after a crash. */
  remove(path: string): Promise<void>
  /** Names in a folder, sorted, without what a crash left half-written; none if it does not exist. */
  list(path: string): Promise<readonly string[]>
}

/** Files under this folder, which is made if need be: files 0600, folders 0700. */
export function durableFiles(folder: string): Files {
  const at = (path: string) => resolve(folder, path)
  return {
    read: (path) => ifThere(readFile(at(path)).then((bytes) => new Uint8Array(bytes))),
    write: (path, bytes) => disk(writeDurably(at(path), bytes)),
    remove: (path) => disk(rm(at(path), { recursive: true, force: true })),
    list: async (path) =>
      ((await ifThere(readdir(at(path)))) ?? []).filter((name) => !name.endsWith(unfinished)).toSorted(),
  }
}

/**
 * Keeps every other process, and every other user of this function, from writing to the folder; returns the release.
 * The operating system releases it when the process dies, however that happens. Throws `ERR_USAGE` if it is taken.
 */
export function lockFolder(folder: string): () => void {
  const path = join(folder, "lock")
  closeSync(openSync(path, "a", 0o600))
  const database = new DatabaseSync(path)
  try {
    database.exec("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE")
  } catch (cause) {
    database.close()
    throw new ValiseError("ERR_USAGE", "this directory is already open", {
      cause,
      hint: "only one process may write to a directory's folder; stop the other one",
    })
  }
  return () => database.close()
}

/** Ends the name of a file that is being written. */
const unfinished = ".new"

/** Gives a finished folder its name. Fails if there is something under that name already. */
export async function nameFolder(from: string, to: string): Promise<void> {
  await disk(rename(from, to).then(() => syncFolder(dirname(resolve(to)))))
}

async function writeDurably(path: string, bytes: Uint8Array): Promise<void> {
  await makeFolder(dirname(path))
  const temporary = `${path}${unfinished}`
  const file = await open(temporary, "w", 0o600)
  try {
    await file.writeFile(bytes)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, path)
  await syncFolder(dirname(path))
}

/** A folder's name is durable only once the folder that holds it is synced. */
async function makeFolder(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true, mode: 0o700 })
  if (first === undefined) return
  for (let made = path; made.length >= first.length; made = dirname(made)) await syncFolder(dirname(made))
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r")
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

async function disk<T>(operation: Promise<T>): Promise<T> {
  try {
    return await operation
  } catch (cause) {
    throw new ValiseError("ERR_DISK", "the directory's folder cannot be read or written", {
      cause,
      hint: "check free space and permissions, then start again; nothing that was published is lost",
    })
  }
}

const ifThere = <T>(operation: Promise<T>): Promise<T | undefined> =>
  disk(
    operation.catch((cause: NodeJS.ErrnoException) => {
      if (cause.code === "ENOENT") return undefined
      throw cause
    }),
  )
