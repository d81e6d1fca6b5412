/** The real machine: clock, randomness and deflate of Node. */
import { randomBytes } from "node:crypto"
import { deflateRawSync, inflateRawSync } from "node:zlib"
import type { Clock, Deflate, Machine, Random } from "./machine.ts"

export const nodeClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after: (delayMs, call) => {
    const timer = setTimeout(call, delayMs)
    timer.unref()
    return () => clearTimeout(timer)
  },
}

export const nodeRandom: Random = { bytes: (length) => new Uint8Array(randomBytes(length)) }

export const nodeDeflate: Deflate = {
  deflate: (bytes) => new Uint8Array(deflateRawSync(bytes)),
  inflate: (bytes, lengthMax) => {
    try {
      const { buffer, engine } = inflateRawSync(bytes, {
        maxOutputLength: Math.max(1, lengthMax),
        info: true,
      }) as unknown as {
        buffer: Buffer
        engine: { bytesWritten: number }
      }
      return engine.bytesWritten === bytes.length && buffer.length <= lengthMax ? new Uint8Array(buffer) : undefined
    } catch {
      return undefined
    }
  },
}

export const nodeMachine: Machine = { clock: nodeClock, random: nodeRandom, deflate: nodeDeflate }
