/** The devices of a bench, the same in every process. */
import { mailboxOf, type MailboxId } from "../../protocol/address.ts"
import { relayHost, testDevice, type TestDevice } from "../../test/support/login.ts"

export const benchDevices = (count: number): TestDevice[] =>
  Array.from({ length: count }, (_, i) => testDevice(`ke/technical/agency-${i}`))

export const benchMailbox = (device: TestDevice): MailboxId => mailboxOf(device.id, relayHost)
