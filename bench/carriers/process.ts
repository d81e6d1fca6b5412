/** Programs that a bench starts, on loopback and in temporary folders, and stops again. */
import { spawn, type ChildProcess } from "node:child_process"
import { once } from "node:events"
import { createServer, connect, type AddressInfo, type Socket } from "node:net"
import { createInterface } from "node:readline"
import { after } from "./carrier.ts"

/** Starts one of our own programs and resolves to the first line that it prints. */
export async function startOurs(
  script: string,
  args: readonly string[],
): Promise<{ child: ChildProcess; line: string }> {
  const child = spawn(process.execPath, [script, ...args], {
    stdio: ["pipe", "pipe", "inherit"],
  })
  stopWithUs(child)
  const [line] = (await Promise.race([
    once(createInterface(child.stdout), "line"),
    once(child, "exit").then(() => Promise.reject(new Error(`${script} ended before it was ready`))),
  ])) as [string]
  return { child, line }
}

/** Starts somebody else's program. It is ready when it listens on this port. */
export async function startTheirs(
  command: string,
  args: readonly string[],
  port: number,
  env: Record<string, string> = {},
): Promise<ChildProcess> {
  const child = spawn(command, args, { stdio: ["ignore", "ignore", "inherit"], env: { ...process.env, ...env } })
  stopWithUs(child)
  const failed = new Promise<never>((_, reject) => {
    child.once("error", () => reject(new Error(`${command} is not installed (as root, npm run bench installs it)`)))
    child.once("exit", (code) => reject(new Error(`${command} ended with ${code}`)))
  })
  await Promise.race([failed, listens(port)])
  failed.catch(() => undefined)
  return child
}

export async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, "exit")
  child.kill("SIGTERM")
  await ended
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, "close")
  return port
}

/** A connection whose bytes are handed on as they come; `take` returns how many it has used up. */
export async function dial(port: number, take: (bytes: Buffer) => number): Promise<Socket> {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true })
  let rest: Buffer = Buffer.alloc(0)
  socket.on("data", (chunk: Buffer) => {
    const bytes = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk
    rest = bytes.subarray(take(bytes))
  })
  await once(socket, "connect")
  return socket
}

/** Everything that is written in one turn goes out in one call. */
export function corked(socket: Socket): Socket {
  if (socket.writableCorked === 0) {
    socket.cork()
    setImmediate(() => socket.uncork())
  }
  return socket
}

async function listens(port: number): Promise<void> {
  for (;;) {
    const socket = connect(port, "127.0.0.1")
    const opened = await Promise.race([
      once(socket, "connect").then(() => true),
      once(socket, "close").then(() => false),
    ]).catch(() => false)
    socket.destroy()
    if (opened) return
    await after(50)
  }
}

function stopWithUs(child: ChildProcess): void {
  const kill = (): void => void child.kill("SIGKILL")
  process.once("exit", kill)
  child.once("exit", () => process.off("exit", kill))
}
