/** The directory's service over real sockets: enrolment by code, approval by two, the log's files, devices that wait. */
import { request as httpRequest } from "node:http"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import type { PocAddress } from "../../protocol/address.ts"
import { utf8 } from "../../protocol/bytes.ts"
import { readTrustFile } from "../../pki/anchor.ts"
import { openCheckpoint } from "../../pki/checkpoint.ts"
import { deviceOfferStructure, serviceLimits, trustHash } from "../../pki/directory-api.ts"
import { DirectoryClient } from "../../pki/directory-client.ts"
import { DirectoryState } from "../../pki/state.ts"
import { nodeHttp } from "../../system/node-http.ts"
import { deviceEntry, secretariat } from "../support/directory.ts"
import { ServedDirectory } from "../support/directory-service.ts"
import { codeOfAsync } from "../support/errors.ts"
import { live as realm } from "../support/sealing.ts"

let served: ServedDirectory
beforeAll(async () => {
  served = await ServedDirectory.start()
})
afterAll(async () => await served.end())

const poc = (name: string): PocAddress => `ke/technical/${name}` as PocAddress

describe("enrolment", () => {
  test("a code invites one PoC, two different officers approve, and everybody finds it in the log", async () => {
    const secret = await served.invited(poc("baobab"))
    expect(await served.client.invitation(secret)).toEqual({
      poc: poc("baobab"),
      organisation: "Agency of Tests",
    })
    const request = served.requestOf(poc("baobab"))
    const submitted = await served.client.enrol(secret, request)
    expect(submitted).toMatchObject({ outcome: "waiting", approvals: 0 })
    const { id } = submitted as { id: string }
    expect(await served.client.proposals()).toMatchObject([{ id, kind: "certificate", about: poc("baobab") }])
    expect((await served.client.proposal(id)).request).toEqual(request)

    expect(await served.approve(id, "first")).toMatchObject({ outcome: "waiting", approvals: 1 })
    expect(await codeOfAsync(served.approve(id, "first"))).toBe("ERR_USAGE")
    expect(await served.client.enrol(secret, request)).toMatchObject({ outcome: "waiting", approvals: 1 })
    const logged = await served.approve(id, "second")
    expect(logged).toMatchObject({ outcome: "logged" })
    expect(await served.client.enrol(secret, request)).toEqual(logged)

    const anchor = readTrustFile(new TextDecoder().decode(await served.client.trustFile()))
    const checkpoint = openCheckpoint(await served.client.log.checkpoint(), anchor, served.now)
    const state = new DirectoryState(anchor)
    for (const entry of await served.client.log.entries(0, checkpoint.size)) state.apply(entry)
    expect(state.rootAt(state.size)).toEqual(checkpoint.root)
    expect(state.resolve("ke/technical").address).toBe(poc("baobab"))
  })

  test("a wrong, replaced or expired code, one for another PoC, and another directory's trust file are refused", async () => {
    const wrong = new Uint8Array(10).fill(7)
    expect(await codeOfAsync(served.client.invitation(wrong))).toBe("ERR_INVITATION")
    const first = await served.invited(poc("olive"))
    const second = await served.invited(poc("olive"))
    expect(await codeOfAsync(served.client.invitation(first))).toBe("ERR_INVITATION")
    expect(await codeOfAsync(served.client.enrol(second, served.requestOf(poc("maple"))))).toBe("ERR_INVITATION")
    const foreign = served.requestOf(poc("olive"), "first", "valise trust file v1\n")
    expect(await codeOfAsync(served.client.enrol(second, foreign))).toBe("ERR_UNTRUSTED")
    served.aheadSeconds = serviceLimits.invitationSeconds + 60
    expect(await codeOfAsync(served.client.invitation(second))).toBe("ERR_INVITATION")
    served.aheadSeconds = 0
  })

  test("withdrawn by the desk, it is refused, and a new code begins anew", async () => {
    const secret = await served.invited(poc("cedar"))
    const request = served.requestOf(poc("cedar"))
    const { id } = (await served.client.enrol(secret, request)) as { id: string }
    await served.desk.withdraw(id)
    expect(await codeOfAsync(served.client.enrol(secret, request))).toBe("ERR_INVITATION")
    expect((await served.desk.nominations()).find((one) => one.poc === poc("cedar"))?.state).toBe("refused")
    const again = (await served.desk.invite(poc("cedar"))).secret
    expect(await served.client.enrol(again, request)).toMatchObject({ outcome: "waiting" })
  })
})

describe("devices that wait", () => {
  const code = new Uint8Array(5).fill(9)
  const offer = deviceOfferStructure.encode({
    v: 1,
    poc: poc("baobab"),
    device: deviceEntry(realm, poc("baobab"), "new"),
    officers: [],
    trust: trustHash(new Uint8Array()),
  })

  test("are fetched by their code, and only by their own PoC", async () => {
    await served.client.offerDevice(code, offer)
    await served.client.offerDevice(code, offer)
    expect((await served.client.fetchDevice(code, poc("baobab"), { realm })).bytes).toEqual(offer)
    expect(await codeOfAsync(served.client.fetchDevice(code, poc("teak"), { realm }))).toBe("ERR_UNTRUSTED")
    expect(await codeOfAsync(served.client.fetchDevice(new Uint8Array(5), poc("teak"), { realm }))).toBe(
      "ERR_NOT_FOUND",
    )
  })

  test("a code is taken once, and a row must be its PoC's own", async () => {
    const device = deviceEntry(realm, poc("teak"), "new")
    const other = { v: 1, poc: poc("teak"), device, officers: [], trust: trustHash(new Uint8Array()) } as const
    expect(await codeOfAsync(served.client.offerDevice(code, deviceOfferStructure.encode(other)))).toBe("ERR_USAGE")
    const foreign = deviceOfferStructure.encode({ ...other, poc: poc("baobab") })
    expect(await codeOfAsync(served.client.offerDevice(new Uint8Array(5).fill(1), foreign))).toBe("ERR_UNTRUSTED")
  })
})

describe("strangers", () => {
  test("the desk's questions are answered at the desk only", async () => {
    const answer = await post("/v1/nominations", new Uint8Array([0xa0]))
    expect(answer).toBe(404)
    expect(await served.desk.nominations()).not.toEqual([])
  })

  test.each([
    ["no question of this name", "/v1/constructor", utf8("x"), 404],
    ["not CBOR", "/v1/proposals", utf8("nonsense"), 400],
    ["another shape", "/v1/proposal", new Uint8Array([0xa0]), 400],
    ["too long", "/v1/proposals", new Uint8Array(serviceLimits.questionBytesMax + 1), 413],
  ])("%s", async (_, path, body, status) => {
    expect(await post(path, body)).toBe(status)
  })

  test.each(["/log/../keys/ca", "/log/%2e%2e/keys/ca", "/keys/ca", "/log/", "/log/tile/0/../../../keys/ca", "/"])(
    "no other file: %s",
    async (path) => {
      expect(await get(path)).toBe(404)
    },
  )

  test("whoever guesses codes is soon told to wait, and the desk is not", async () => {
    const codes: (string | undefined)[] = []
    for (let i = 0; i < 20; i++)
      codes.push(await codeOfAsync(served.client.invitation(new Uint8Array(10).fill(100 + i))))
    expect(codes.filter((code) => code === "ERR_INVITATION").length).toBeLessThanOrEqual(12)
    expect(codes.at(-1)).toBe("ERR_RATE_LIMITED")
    await served.desk.nominations()
    expect(served.directory.state.poc(secretariat)).toBeDefined()
  })
})

test("an address that is none, and nobody there", async () => {
  expect(() => new DirectoryClient("https://directory.example/path", nodeHttp)).toThrow(/address/)
  const nobody = new DirectoryClient("http://127.0.0.1:1/", nodeHttp)
  expect(await codeOfAsync(nobody.proposals())).toBe("ERR_OFFLINE")
})

/** The status of a raw request, without what a client would tidy in its path. */
const raw = (method: string, path: string, body?: Uint8Array): Promise<number> =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(served.url)
    const asked = httpRequest({ hostname, port, method, path, agent: false }, (answer) => {
      answer.resume()
      resolve(answer.statusCode!)
    })
    asked.on("error", reject)
    asked.end(body)
  })
const get = (path: string): Promise<number> => raw("GET", path)
const post = (path: string, body: Uint8Array): Promise<number> => raw("POST", path, body)
