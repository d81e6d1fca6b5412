/** The directory's service as a program asks it. Nothing that it answers is believed without its signatures. */
import type { PocAddress } from "../protocol/address.ts"
import { decodeCbor, encodeCbor } from "../protocol/cbor.ts"
import { errorTable, ValiseError, type ErrorCode } from "../protocol/errors.ts"
import { fixed } from "../protocol/limits.ts"
import { judgeDevice, type CoSignature } from "../protocol/manifest.ts"
import type { Signed } from "../protocol/statement.ts"
import type { Http, HttpAnswer } from "../system/machine.ts"
import type { TrustAnchor } from "./anchor.ts"
import {
  deskQuestions,
  deviceOfferStructure,
  failureShape,
  questions,
  serviceLimits,
  servicePaths,
  type Answer,
  type DeviceOffer,
  type Invited,
  type NominationAnswer,
  type ProposalAnswer,
  type ProposalSummary,
  type Question,
  type QuestionTable,
  type SubmittedAnswer,
} from "./directory-api.ts"
import type { LogSource } from "./log-source.ts"
import { isVisibleLine } from "./profile.ts"
import { tileSource } from "./tiles.ts"

/** Every call rejects with `ERR_OFFLINE`, `ERR_PROTOCOL`, or the code with which the directory refuses. */
export class DirectoryClient {
  readonly #asker: Asker

  /** @param url e.g. `https://directory.example/`. Throws `ERR_USAGE` if it is none. */
  constructor(url: string, http: Http) {
    this.#asker = new Asker(url, http)
  }

  /** The log's files. Whoever reads compares them with the checkpoint. */
  get log(): LogSource {
    return tileSource(async (path) => {
      const answer = await this.#asker.get(servicePaths.log + path, serviceLimits.logFileBytesMax)
      return answer?.body
    })
  }

  /** The directory's clock, in seconds since 1970, if it tells. */
  async timeSeconds(): Promise<number | undefined> {
    return (await this.#asker.get(`${servicePaths.log}checkpoint`, fixed.noteBytesMax))?.dateSeconds
  }

  /** What anybody would claim: compare its hash with the one in the invitation. */
  async trustFile(): Promise<Uint8Array> {
    const answer = await this.#asker.get(servicePaths.trust, 4 * fixed.trustFileCharactersMax)
    if (!answer) throw new ValiseError("ERR_PROTOCOL", "this is not a directory", { hint: "compare its address" })
    return answer.body
  }

  invitation(secret: Uint8Array): Promise<Invited> {
    return this.#ask("invitation", { secret })
  }

  /** @param request an encoded `EnrolmentRequest` */
  enrol(secret: Uint8Array, request: Uint8Array): Promise<SubmittedAnswer> {
    return this.#ask("enrol", { secret, request })
  }

  submitManifest(
    poc: PocAddress,
    manifest: Signed,
    coSignatures: readonly CoSignature[] = [],
  ): Promise<SubmittedAnswer> {
    return this.#ask("manifest", { poc, manifest, coSignatures })
  }

  /** @param statement made by `signRevocation` */
  revoke(statement: Signed): Promise<SubmittedAnswer> {
    return this.#ask("revocation", { statement })
  }

  /** @param member the key's signature over its address (`signMember`) */
  renewCertificate(poc: PocAddress, member: Uint8Array): Promise<ProposalAnswer> {
    return this.#ask("renewal", { poc, member })
  }

  async proposals(): Promise<readonly ProposalSummary[]> {
    return (await this.#ask("proposals", {})).proposals
  }

  proposal(id: string): Promise<ProposalAnswer> {
    return this.#ask("proposal", { id })
  }

  /** @param approval made by `signApproval` */
  approve(id: string, approval: Signed): Promise<SubmittedAnswer> {
    return this.#ask("approve", { id, approval })
  }

  /** A new device waits under this code until its PoC fetches it. @param offer an encoded `DeviceOffer` */
  async offerDevice(code: Uint8Array, offer: Uint8Array): Promise<void> {
    await this.#ask("offer-device", { code, offer })
  }

  /**
   * The device that waits under this code, and the bytes that its verification words name. Rejects with
   * `ERR_NOT_FOUND`, and with `ERR_UNTRUSTED` for a row that is not that PoC's or has not asked to be listed.
   */
  async fetchDevice(
    code: Uint8Array,
    poc: PocAddress,
    { realm }: Pick<TrustAnchor, "realm">,
  ): Promise<{ readonly offer: DeviceOffer; readonly bytes: Uint8Array }> {
    const { offer: bytes } = await this.#ask("fetch-device", { code })
    const offer = deviceOfferStructure.decode(bytes)
    if (offer.poc !== poc) throw new ValiseError("ERR_UNTRUSTED", "the device under this code is of another PoC")
    judgeDevice(poc, realm, offer.device)
    return { offer, bytes }
  }

  #ask<N extends keyof typeof questions>(name: N, question: Question<typeof questions, N>) {
    return this.#asker.ask(questions, name, question)
  }
}

/** What the desk asks beside that, over the socket in the directory's folder. */
export class DeskClient {
  readonly #asker: Asker

  constructor(http: Http) {
    this.#asker = new Asker("http://localhost/", http)
  }

  async nominate(invited: Invited): Promise<void> {
    await this.#ask("nominate", invited)
  }

  invite(poc: PocAddress): Promise<{ readonly secret: Uint8Array; readonly expires: number }> {
    return this.#ask("invite", { poc })
  }

  async nominations(): Promise<readonly NominationAnswer[]> {
    return (await this.#ask("nominations", {})).nominations
  }

  /** @param request an encoded `RelayRequest` */
  nominateRelay(request: Uint8Array): Promise<SubmittedAnswer> {
    return this.#ask("nominate-relay", { request })
  }

  async withdraw(id: string): Promise<void> {
    await this.#ask("withdraw", { id })
  }

  renewCa(): Promise<SubmittedAnswer> {
    return this.#ask("renew-ca", {})
  }

  #ask<N extends keyof typeof deskQuestions>(name: N, question: Question<typeof deskQuestions, N>) {
    return this.#asker.ask(deskQuestions, name, question)
  }
}

/** Throws the code with which the directory refuses, `ERR_OFFLINE` or `ERR_PROTOCOL`. */
export function readAnswer<T extends QuestionTable, N extends keyof T>(
  table: T,
  name: N,
  answer: HttpAnswer,
): Answer<T, N> {
  if (answer.status !== 200) throw refusalOf(answer)
  try {
    return decodeCbor(table[name]!.answer, answer.body) as Answer<T, N>
  } catch (cause) {
    throw notADirectory(cause)
  }
}

const { answerBytesMax } = serviceLimits

class Asker {
  readonly #base: string
  readonly #http: Http

  constructor(url: string, http: Http) {
    if (!/^https?:\/\/[^/\s?#@]+\/?$/.test(url) || !URL.canParse(url))
      throw new ValiseError("ERR_USAGE", "not the address of a directory", {
        hint: "it reads https://directory.example/, with nothing behind the host",
      })
    this.#base = url.replace(/\/$/, "")
    this.#http = http
  }

  async ask<T extends QuestionTable, N extends keyof T & string>(
    table: T,
    name: N,
    question: Question<T, N>,
  ): Promise<Answer<T, N>> {
    const body = encodeCbor(question as object)
    const url = `${this.#base}${servicePaths.questions}${name}`
    return readAnswer(table, name, await this.#sent({ method: "POST", url, body, answerBytesMax }))
  }

  /** `undefined` if there is no such file. */
  async get(path: string, answerBytesMax: number): Promise<HttpAnswer | undefined> {
    const answer = await this.#sent({ method: "GET", url: this.#base + path, answerBytesMax })
    if (answer.status === 404) return undefined
    if (answer.status !== 200) throw refusalOf(answer)
    return answer
  }

  async #sent(request: Parameters<Http>[0]): Promise<HttpAnswer> {
    try {
      return await this.#http(request)
    } catch (cause) {
      throw new ValiseError("ERR_OFFLINE", "the directory cannot be reached", {
        cause,
        hint: "compare its address; if it is down for a while, do the same again later",
      })
    }
  }
}

/** The code counts; the words are shown only if they are one harmless line. */
function refusalOf({ status, body }: HttpAnswer): ValiseError {
  try {
    const { code, message, hint } = decodeCbor(failureShape, body)
    if (!Object.hasOwn(errorTable, code) || !isVisibleLine(message, 300)) return notADirectory(undefined)
    const isShown = hint !== undefined && isVisibleLine(hint, 500)
    return new ValiseError(code as ErrorCode, message, { ...(isShown && { hint }) })
  } catch (cause) {
    return status >= 500 && status < 600
      ? new ValiseError("ERR_OFFLINE", "the directory is not there at the moment", { cause })
      : notADirectory(cause)
  }
}

const notADirectory = (cause: unknown): ValiseError =>
  new ValiseError("ERR_PROTOCOL", "what answers there is not a directory that this program understands", {
    cause,
    hint: "compare the address with the one that you were given",
  })
