/**
 * What the directory answers (SPEC, "Directory service"): the log's files, and the questions of `pki/directory-api.ts`. No
 * sockets in here. Changes are made one after another, each durable before it is answered.
 */
import { parsePocAddress, type PocAddress } from "../protocol/address.ts"
import { equal, utf8 } from "../protocol/bytes.ts"
import { decodeCbor, encodeCbor } from "../protocol/cbor.ts"
import { ValiseError, type ErrorCode } from "../protocol/errors.ts"
import { judgeDevice } from "../protocol/manifest.ts"
import {
  deskQuestions,
  deviceOfferStructure,
  enrolmentStructure,
  questions,
  relayRequestStructure,
  serviceLimits,
  servicePaths,
  trustHash,
  type Answer,
  type NominationAnswer,
  type ProposalSummary,
  type Question,
  type QuestionTable,
  type SubmittedAnswer,
} from "../pki/directory-api.ts"
import { bodyStructures } from "../pki/entries.ts"
import { Budget } from "../system/budget.ts"
import { seconds, type Http, type HttpAnswer } from "../system/machine.ts"
import type { Directory, Submitted } from "./directory.ts"
import type { DirectoryMachine } from "./keys.ts"
import type { ServiceLog } from "./log.ts"
import { requestHash, type Nomination, type Nominations } from "./nominations.ts"
import { Offers } from "./offers.ts"
import type { Proposal } from "./proposals.ts"

export interface ServiceParts {
  readonly directory: Directory
  readonly nominations: Nominations
  readonly machine: DirectoryMachine
  readonly log: ServiceLog
}

/** Who asks: an address that budgets count by, or the desk. */
export type Asker = { readonly address: string } | "desk"

export type ServiceAnswer = Pick<HttpAnswer, "status" | "body"> & { readonly type: string }

export class Service {
  readonly #parts: ServiceParts
  readonly #offers: Offers
  readonly #asked: Budget
  #turn: Promise<unknown> = Promise.resolve()

  constructor(parts: ServiceParts) {
    this.#parts = parts
    this.#offers = new Offers(parts.machine.clock)
    this.#asked = new Budget(parts.machine.clock, serviceLimits.questionsPerMinute, 60_000)
  }

  /** Never rejects: the one place that turns failures into answers. @param path as asked for, without a query */
  async answer(asker: Asker, method: string, path: string, body: Uint8Array): Promise<ServiceAnswer> {
    try {
      if (asker !== "desk" && this.#asked.take(asker.address) > 0) throw tooMany()
      if (method === "GET") return await this.#file(path)
      const name = path.startsWith(servicePaths.questions) ? path.slice(servicePaths.questions.length) : ""
      if (method !== "POST") return { ...plain, status: 405 }
      const bytes = await this.#answerTo(asker, name, body)
      return bytes ? { status: 200, type: "application/cbor", body: bytes } : { ...plain, status: 404 }
    } catch (error) {
      return this.#failure(error)
    }
  }

  /** For programs on this machine that hold the directory open themselves. */
  http(asker: Asker): Http {
    return async ({ method, url, body = new Uint8Array() }) => ({
      ...(await this.answer(asker, method, new URL(url).pathname, body)),
      dateSeconds: this.#now,
    })
  }

  /** Finishes what is under way. */
  async close(): Promise<void> {
    await this.#turn
  }

  async #file(path: string): Promise<ServiceAnswer> {
    const { directory } = this.#parts
    if (path === servicePaths.trust) return { status: 200, type: "text/plain", body: utf8(directory.trustFile()) }
    const isOfLog = path.startsWith(servicePaths.log)
    const body = isOfLog ? await directory.logFile(path.slice(servicePaths.log.length)) : undefined
    return body ? { status: 200, type: "application/octet-stream", body } : { ...plain, status: 404 }
  }

  async #answerTo(asker: Asker, name: string, body: Uint8Array): Promise<Uint8Array | undefined> {
    if (isIn(questions, name)) return await this.#dispatch(questions, this.#answers(asker), name, body)
    if (asker !== "desk" || !isIn(deskQuestions, name)) return undefined
    return await this.#dispatch(deskQuestions, this.#deskAnswers, name, body)
  }

  async #dispatch<T extends QuestionTable, N extends keyof T>(
    table: T,
    answers: Answers<T>,
    name: N,
    body: Uint8Array,
  ): Promise<Uint8Array> {
    const question = readQuestion(table, name, body)
    return encodeCbor((await this.#inTurn(() => answers[name](question))) as object)
  }

  #answers(asker: Asker): Answers<typeof questions> {
    const { directory } = this.#parts
    return {
      invitation: async ({ secret }) => {
        const { poc, organisation } = this.#invitedBy(asker, secret)
        return { poc, organisation }
      },
      enrol: async ({ secret, request }) => this.#enrol(this.#invitedBy(asker, secret), request),
      manifest: async ({ poc, manifest, coSignatures }) =>
        this.#told(await directory.submitManifest(poc, manifest, coSignatures)),
      revocation: async ({ statement }) => this.#told(await directory.revoke(statement)),
      renewal: async ({ poc, member }) => this.#renewal(poc) ?? (await directory.renewCertificate(poc, member)),
      proposals: async () => ({ proposals: directory.proposals().map(summaryOf) }),
      proposal: async ({ id }) => directory.proposal(id),
      approve: async ({ id, approval }) => {
        await directory.approve(id, approval)
        return this.#told(await directory.issueIfApproved(id))
      },
      "offer-device": async ({ code, offer }) => {
        const { poc, device } = deviceOfferStructure.decode(offer)
        judgeDevice(poc, directory.anchor.realm, device)
        this.#offers.put(code, offer)
        return {}
      },
      "fetch-device": async ({ code }) => {
        const offer = this.#offers.get(code)
        if (offer) return { offer }
        this.#penalise(asker)
        throw new ValiseError("ERR_NOT_FOUND", "no device waits under this code", {
          hint: "compare the code; after a quarter of an hour the new device must offer itself again",
        })
      },
    }
  }

  readonly #deskAnswers: Answers<typeof deskQuestions> = {
    nominate: async (invited) => {
      await this.#parts.nominations.nominate(invited)
      return {}
    },
    invite: async ({ poc }) => {
      const { machine, nominations } = this.#parts
      return await nominations.invite(poc, machine.random, this.#now)
    },
    nominations: async () => ({ nominations: this.#parts.nominations.all().map((one) => this.#stateOf(one)) }),
    "nominate-relay": async ({ request }) => {
      const relay = relayRequestStructure.decode(request)
      const known = this.#handedIn(request)
      return waiting(known ?? (await this.#parts.directory.listRelay({ ...relay, request })))
    },
    withdraw: async ({ id }) => {
      await this.#parts.directory.withdraw(id)
      return {}
    },
    "renew-ca": async () => this.#told({ outcome: "logged", index: await this.#parts.directory.renewCa() }),
  }

  /** What the code stands for once it has been used; before that, a new proposal. */
  async #enrol(nomination: ReturnType<Nominations["invitedBy"]>, request: Uint8Array): Promise<SubmittedAnswer> {
    const { directory, nominations } = this.#parts
    const { poc, organisation, invitation } = nomination
    const asked = enrolmentStructure.decode(request)
    if (invitation.used) {
      if (!equal(invitation.used.request, requestHash(request))) throw usedUp() // defence: 5 code-used-once
      const listed = directory.state.poc(poc)
      if (listed && equal(listed.key, asked.key)) return { outcome: "logged", index: listed.certificateIndex }
      const proposal = directory.proposals().find(({ id }) => id === invitation.used!.proposal)
      if (proposal) return waiting(proposal)
      throw new ValiseError("ERR_INVITATION", "what was handed in with this code was not approved", {
        hint: "ask the directory's desk why; it can send a new code",
      })
    }
    if (asked.poc !== poc) throw new ValiseError("ERR_INVITATION", "this code invites another PoC")
    if (!equal(asked.trust, trustHash(utf8(directory.trustFile()))))
      throw new ValiseError("ERR_UNTRUSTED", "this request was made with another directory's trust file")
    const { agency, role, state } = parsePocAddress(poc)
    const { key, member, manifest } = asked
    const isDefault = this.#isToBeDefault(poc)
    const drafted = { state, role, agency, organisation, key, member, isDefault, manifest, request }
    const proposal = this.#handedIn(request) ?? (await directory.nominate(drafted))
    await nominations.use(poc, request, proposal.id)
    this.#parts.log.info("proposal.waiting")
    return waiting(proposal)
  }

  #invitedBy(asker: Asker, secret: Uint8Array): ReturnType<Nominations["invitedBy"]> {
    try {
      return this.#parts.nominations.invitedBy(secret, this.#now)
    } catch (error) {
      this.#penalise(asker)
      throw error
    }
  }

  /** Whoever guesses is soon done for this minute. */
  #penalise(asker: Asker): void {
    if (asker === "desk") return
    for (let i = 1; i < wrongCodeCosts; i++) this.#asked.take(asker.address)
  }

  /** The same bytes handed in again are the same proposal, also after a crash in between. */
  #handedIn(request: Uint8Array): Proposal | undefined {
    return this.#parts.directory.proposals().find((proposal) => proposal.request && equal(proposal.request, request))
  }

  /** One draft a PoC: it holds as long as anybody may approve it. */
  #renewal(poc: string): Proposal | undefined {
    return this.#parts.directory.proposals().find(({ kind, body, firstManifest, request }) => {
      const isRenewal = kind === "certificate" && !firstManifest && !request
      return isRenewal && bodyStructures.certificate.decode(body).poc === poc
    })
  }

  /** A State's first PoC in a role is what `state/role` alone means, until the State says otherwise. */
  #isToBeDefault(poc: PocAddress): boolean {
    const { role, state } = parsePocAddress(poc)
    const present = this.#parts.directory.state.pocs().find(({ isDefault, name }) => {
      return isDefault && name.state === state && name.role === role
    })
    return !present || present.address === poc || present.notAfter < this.#now
  }

  #stateOf({ poc, organisation, invitation }: Nomination): NominationAnswer {
    const { directory } = this.#parts
    const known = { poc, organisation }
    if (!invitation) return { ...known, state: directory.state.poc(poc) ? "logged" : "nominated" }
    const { expires, used } = invitation
    if (!used) return { ...known, state: expires < this.#now ? "expired" : "invited", expires }
    const waits = directory.proposals().some(({ id }) => id === used.proposal)
    if (waits) return { ...known, state: "handed-in", proposal: used.proposal }
    return { ...known, state: directory.state.poc(poc) ? "logged" : "refused" }
  }

  #told(submitted: Submitted): SubmittedAnswer {
    if (submitted.outcome === "waiting") return waiting(submitted.proposal)
    this.#parts.log.info("entry.logged", { index: submitted.index })
    return submitted
  }

  get #now(): number {
    return seconds(this.#parts.machine.clock)
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work)
    this.#turn = turn.catch(() => {})
    return await turn
  }

  #failure(error: unknown): ServiceAnswer {
    const known = error instanceof ValiseError ? error : new ValiseError("ERR_INTERNAL", "a fault of the directory")
    if (!(error instanceof ValiseError) || ours.has(known.code)) this.#parts.log.fault(error)
    else this.#parts.log.refused(known.code)
    const { code, message, hint } = known
    return { status: statuses[code] ?? 400, type: "application/cbor", body: encodeCbor({ code, message, hint }) }
  }
}

/** Throws `ERR_MALFORMED`. */
export const readQuestion = <T extends QuestionTable, N extends keyof T>(table: T, name: N, body: Uint8Array) =>
  decodeCbor(table[name]!.question, body) as Question<T, N>

/** A function for every question of a table. */
type Answers<T extends QuestionTable> = {
  readonly [N in keyof T]: (question: Question<T, N>) => Promise<Answer<T, N>>
}

const isIn = <T extends QuestionTable>(table: T, name: string): name is keyof T & string => Object.hasOwn(table, name)

const plain = { type: "text/plain", body: new Uint8Array() } as const
const wrongCodeCosts = 10

const ours: ReadonlySet<ErrorCode> = new Set(["ERR_INTERNAL", "ERR_DISK"])
const statuses: Partial<Record<ErrorCode, number>> = {
  ERR_NOT_FOUND: 404,
  ERR_TOO_LARGE: 413,
  ERR_RATE_LIMITED: 429,
  ERR_INVITATION: 403,
  ERR_NO_RIGHT: 403,
  ERR_UNTRUSTED: 403,
  ERR_INTERNAL: 500,
  ERR_DISK: 500,
  ERR_ABORTED: 503,
}

const waiting = ({ id, approvals }: Proposal): SubmittedAnswer => ({
  outcome: "waiting",
  id,
  approvals: approvals.length,
})

function summaryOf({ id, kind, body, approvals, created }: Proposal): ProposalSummary {
  return { id, kind, about: aboutOf(kind, body), approvals: approvals.length, created }
}

function aboutOf(kind: Proposal["kind"], body: Uint8Array): string {
  if (kind === "relay") return bodyStructures.relay.decode(body).host
  if (kind === "role") return bodyStructures.role.decode(body).role
  if (kind === "ca" || kind === "revocation") return kind
  return bodyStructures[kind].decode(body).poc
}

const usedUp = (): ValiseError =>
  new ValiseError("ERR_INVITATION", "this code has been used", {
    hint: "if that was not you, tell the directory's desk at once by telephone; it can send a new code",
  })

const tooMany = (): ValiseError =>
  new ValiseError("ERR_RATE_LIMITED", "too many questions from one address", { hint: "come back in a minute" })
