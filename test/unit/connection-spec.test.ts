import { createHash, createHmac, createPrivateKey, createPublicKey, diffieHellman, sign } from "node:crypto"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, test } from "vitest"
import { concat, fromHex, hex, utf8 } from "../../protocol/bytes.ts"
import { clientTable, connectionStates, relayTable, type ConnectionTable } from "../../protocol/connection-table.ts"
import { frameTypes, noticeKinds } from "../../protocol/frames.ts"
import { connectionVectors } from "../../scripts/make-connection-vectors.ts"

const protocol = join(import.meta.dirname, "../../protocol")
const read = (path: string) => readFileSync(join(protocol, path), "utf8")

describe("the specification's tables", () => {
  const text = read("SPEC.md")
    .split(/^## Connection$/m)[1]!
    .split(/^## /m)[0]!
  const section = (from: string, to: string) => text.split(from)[1]!.split(to)[0]!

  test("list every frame with its type and sender", () => {
    const rows = [...text.matchAll(/^\| 0x([0-9a-f]{2}) \| `([a-z-]+)` \| (client|relay) \|/gm)]
    expect(Object.fromEntries(rows.map(([, type, name]) => [name, Number.parseInt(type!, 16)]))).toEqual(frameTypes)
    for (const [, type, , sender] of rows) expect(Number.parseInt(type!, 16) < 0x80).toBe(sender === "client")
  })

  test("list every move of both ends", () => {
    const tableIn = (markdown: string): ConnectionTable => {
      const table: Record<string, Record<string, string>> = Object.fromEntries(connectionStates.map((s) => [s, {}]))
      for (const [, state, moves, next] of markdown.matchAll(/^\| `([a-z]+)` \| (.+) \| `([a-z]+)` \|$/gm))
        for (const [, move] of moves!.matchAll(/`([^`]+)`/g)) table[state!]![move!] = next!
      return table as ConnectionTable
    }
    expect(tableIn(section("The client's table:", "The relay's table:"))).toEqual(clientTable)
    expect(tableIn(section("The relay's table:", "### What the frames mean"))).toEqual(relayTable)
  })

  test("list every notice", () => {
    const kinds = [...section("**`notice`**:", "**`error`**").matchAll(/^\| `([a-z-]+)` \|/gm)].map(([, kind]) => kind!)
    expect(kinds.toSorted()).toEqual(noticeKinds.toSorted())
  })
})

describe("protocol/vectors/connection.json", () => {
  const vectors = connectionVectors()
  const sha3 = (...parts: readonly Uint8Array[]) =>
    createHash("sha3-256")
      .update(concat(...parts))
      .digest()
  const prefixed = (bytes: Uint8Array) => {
    const length = Buffer.alloc(4)
    length.writeUInt32BE(bytes.length)
    return concat(length, bytes)
  }
  const hmac = (key: Uint8Array, bytes: Uint8Array) =>
    createHmac("sha512", key).update(bytes).digest("hex").slice(0, 64)

  test("is what the code makes today", () => {
    expect(`${JSON.stringify(vectors, null, 1)}\n`).toBe(read("vectors/connection.json"))
  })

  test("its signatures, secret and keys are those of OpenSSL, from the specification's words", () => {
    const { realm, secrets, transcript, challenge, proof, device } = vectors
    const signed = (label: string) =>
      concat(utf8(`valise/v1\0${realm.origin}\0${realm.mode}\0${label}\0`), fromHex(transcript))
    const signature = (seed: string, label: string) =>
      sign(null, signed(label), keyObject("302e020100300506032b657004220420", seed)).toString("hex")
    expect(challenge.slice(2 * 65, 2 * 129)).toBe(signature(secrets["relay"]!, "login-relay"))
    expect(proof.slice(2 * 33)).toBe(signature(secrets["device"]!, "login-device"))

    const x25519 = "302e020100300506032b656e04220420"
    const shared = diffieHellman({
      privateKey: keyObject(x25519, secrets["ephemeralClient"]!),
      publicKey: createPublicKey(keyObject(x25519, secrets["ephemeralRelay"]!)),
    })
    expect(shared.toString("hex")).toBe(vectors.sharedSecret)
    const keyFor = (label: string) => {
      const parts = [utf8("valise/v1"), utf8(label), fromHex(transcript), fromHex(device)]
      return hmac(shared, sha3(...parts.map(prefixed)))
    }
    expect([keyFor("up"), keyFor("down")]).toEqual([vectors.keyUp, vectors.keyDown])
  })

  test("its transcript holds what both ends have said", () => {
    const { hello, challenge, transcript, relayKey } = vectors
    const said = [
      hello.slice(2 * 3, 2 * 35),
      hello.slice(2 * 35, 2 * 67),
      challenge.slice(2, 66),
      challenge.slice(66, 130),
    ]
    for (const bytes of [...said, relayKey, hex(utf8("relay.example")), hex(utf8("valise.v1"))])
      expect(transcript).toContain(bytes)
  })

  test("its MACs cover type, counter and fields, an envelope by its digest", () => {
    const envelopeAt: Record<string, number> = { submit: 48, envelope: 16 }
    for (const [key, frames] of [[vectors.keyUp, vectors.up] as const, [vectors.keyDown, vectors.down] as const])
      for (const [i, { name, counter, mac, fields, frame }] of frames.entries()) {
        expect(counter).toBe(i + 1)
        const bytes = fromHex(fields)
        const at = envelopeAt[name]
        const covered = at === undefined ? bytes : concat(bytes.subarray(0, at), sha3(bytes.subarray(at)))
        expect(hmac(fromHex(key), concat(fromHex(frame.slice(0, 18)), covered)), name).toBe(mac)
        expect(frame).toBe(frame.slice(0, 18) + mac + fields)
      }
  })
})

const keyObject = (prefix: string, seed: string) =>
  createPrivateKey({ key: Buffer.from(prefix + seed, "hex"), format: "der", type: "pkcs8" })
