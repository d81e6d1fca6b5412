/** Row 30, in front of the relay: somebody else ends TLS, with a certificate that this machine would believe. */
import { afterAll, beforeAll, expect, test } from "vitest"
import { arrived, notification, noticed, soon, TestNetwork } from "../support/network.ts"
import { believe, selfSigned, tlsProxy, type TlsIdentity, type TlsProxy } from "../support/tls.ts"

let own: TlsIdentity
let network: TestNetwork
let honest: TlsProxy
let dishonest: TlsProxy
beforeAll(async () => {
  own = await selfSigned("localhost")
  const foreign = await selfSigned("localhost")
  believe(own, foreign)
  const relayPort = (): number => Number(new URL(network.url).port)
  honest = await tlsProxy(own, relayPort)
  dishonest = await tlsProxy(foreign, relayPort)
  network = await TestNetwork.open({
    members: ["kenya", "singapore"],
    inFront: { tlsCertificateHash: own.hash, hosts: [honest, dishonest].map(({ port }) => `localhost:${port}`) },
  })
})
afterAll(async () => {
  await network.close()
  await Promise.all([honest.close(), dishonest.close()])
})

test("30 a proxy with another certificate is refused with an alarm, and nothing goes that way", async () => {
  const kenya = await network.poc("kenya", { relay: `wss://localhost:${dishonest.port}/`, ready: false })
  const sent = kenya.send({ ...notification, to: ["sg/technical"] })
  expect((await noticed(kenya, "intercepted")).text).toContain("not the relay's")
  await kenya.until(() => (kenya.status.state === "offline" ? true : undefined), soon())
  expect(kenya.status).toMatchObject({ state: "offline", reason: "ERR_UNTRUSTED" })
  expect(sent.status()[0]).toMatchObject({ state: "waiting" })
  await network.shut(kenya)
})

test("30 the proxy whose certificate the relay was told of carries everything, and raises no alarm", async () => {
  const singapore = await network.poc("singapore", { relay: `wss://localhost:${honest.port}/` })
  const kenya = await network.poc("kenya", { relay: `wss://localhost:${honest.port}/` })
  const sent = kenya.send({ ...notification, to: ["sg/technical"] })
  await arrived(singapore, sent.id)
  expect(singapore.notices().filter(({ kind }) => kind === "intercepted")).toEqual([])
  await network.shut(kenya)
  await network.shut(singapore)
})

test("30 where TLS ends at the relay itself, the certificate is the one that it shows", async () => {
  await network.stopRelay()
  network.inFront = { tlsCertificateHash: own.hash, tls: own, hosts: [] }
  await network.startRelay()
  expect(network.url).toMatch(/^wss:/)
  const kenya = await network.poc("kenya", { relay: network.url.replace("127.0.0.1", "localhost") })
  expect(kenya.status.state).toBe("live")
  await network.shut(kenya)
})
