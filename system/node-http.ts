/** HTTP of Node: to a host, or to a socket file of this machine. */
import { request as plain, type IncomingMessage, type RequestOptions } from "node:http"
import { request as secure } from "node:https"
import type { Http, HttpAnswer, HttpRequest } from "./machine.ts"

/** A small answer over a slow line takes less. */
const answerMaxMs = 20_000

export const nodeHttp: Http = (request) => ask(request, {})

/** Whatever the URL's host, the question goes to this socket. */
export const nodeSocketHttp =
  (socketPath: string): Http =>
  (request) =>
    ask(request, { socketPath })

function ask({ url, method, body, answerBytesMax }: HttpRequest, where: RequestOptions): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const send = new URL(url).protocol === "https:" ? secure : plain
    const headers = body ? { "content-type": "application/cbor", "content-length": body.length } : {}
    const options = { ...where, method, headers, agent: false, signal: AbortSignal.timeout(answerMaxMs) }
    const asked = send(url, options, (answer) => {
      read(answer, answerBytesMax).then(
        (bytes) => resolve({ status: answer.statusCode!, dateSeconds: dateOf(answer), body: bytes }),
        (cause: unknown) => {
          asked.destroy()
          reject(cause)
        },
      )
    })
    asked.on("error", reject)
    asked.end(body)
  })
}

async function read(answer: IncomingMessage, bytesMax: number): Promise<Uint8Array> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > bytesMax) throw new RangeError("the answer is longer than it may be")
    chunks.push(chunk)
  }
  return new Uint8Array(Buffer.concat(chunks))
}

function dateOf({ headers }: IncomingMessage): number | undefined {
  const atMs = Date.parse(headers.date ?? "")
  return Number.isNaN(atMs) ? undefined : Math.floor(atMs / 1000)
}
