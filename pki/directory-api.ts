/**
 * What can be asked of a directory over HTTP (SPEC, "Directory service"): one table, which the service and its clients
 * both read. Question and answer are deterministic CBOR. Whatever matters in them is signed by those whom it concerns,
 * so neither the line nor the service is trusted with more than being there.
 */
import { z } from "zod"
import { shapes, type Hash, type PocAddress } from "../protocol/address.ts"
import { taggedHash } from "../protocol/hash.ts"
import { fixed } from "../protocol/limits.ts"
import {
  coSignatureShape,
  manifestDeviceShape,
  manifestOfficerShape,
  type ManifestDevice,
  type ManifestOfficer,
} from "../protocol/manifest.ts"
import { growing, signedShape, type Signed } from "../protocol/statement.ts"
import { structureOf, type Structure } from "../protocol/structure.ts"
import { entryKinds } from "./entries.ts"
import { isOrganisation, isRelayHost } from "./profile.ts"

/** GET: the trust file, and below `/log/` the files of the log. POST: `/v1/` and a question's name. */
export const servicePaths = { trust: "/trust", log: "/log/", questions: "/v1/" } as const

export const serviceLimits = {
  /** A question: the largest log entry, twice, and a head. */
  questionBytesMax: 160 * 1024,
  /** An answer: one proposal with all that was handed in, or the list of all that wait. */
  answerBytesMax: 512 * 1024,
  /** What waits for approval at a time: all States' renewals at once. */
  proposalsMax: 1024,
  /** One tile of the log: 256 entries of the largest kind would be 16 MB; the log's own entries are below 4 KB. */
  logFileBytesMax: 17 * 1_048_576,
  /** Devices that wait to be fetched by their PoC: ten for every State. */
  offersMax: 2048,
  /** Two people at two screens need less. */
  offerSeconds: 900,
  /** A letter takes a week. */
  invitationSeconds: 14 * 86_400,
  /** Questions of one address a minute; a wrong code costs ten, so guessing one of 2^80 is hopeless. */
  questionsPerMinute: 120,
} as const

/** Bytes of a secret that an invitation carries, and of the trust file's hash beside it. */
export const invitationBytes = { secret: 10, trust: 10 } as const
/** Bytes of the code under which a new device waits: a stranger who guesses it learns one public row. */
export const offerCodeBytes = 5

/** What the PoC's invitation says about it. */
export interface Invited {
  readonly poc: PocAddress
  readonly organisation: string
}

/** What an agency hands in: everything that it makes itself. Its bytes are what the verification words name. */
export interface EnrolmentRequest {
  readonly v: 1
  readonly poc: PocAddress
  /** Ed25519; made and held by the agency. */
  readonly key: Uint8Array
  /** The key's own signature over its address (`signMember`). */
  readonly member: Uint8Array
  /** The first manifest, signed by the key. */
  readonly manifest: Signed
  /** `trustHash` of the trust file that the agency was given. */
  readonly trust: Hash
  readonly crit?: readonly string[] | undefined
}

/** What a relay's operator hands in. */
export interface RelayRequest {
  readonly v: 1
  /** The host, with its port if it has one, that clients dial. */
  readonly host: string
  readonly urls: readonly string[]
  readonly organisation: string
  readonly key: Uint8Array
  /** The key's own signature (`signPossession`). */
  readonly member: Uint8Array
  readonly crit?: readonly string[] | undefined
}

/** A new device, on its way to a device of its PoC that lists it in the next manifest. */
export interface DeviceOffer {
  readonly v: 1
  readonly poc: PocAddress
  readonly device: ManifestDevice
  /** Whose keys were made on it. */
  readonly officers: readonly ManifestOfficer[]
  /** `trustHash` of the trust file that the device was shown. */
  readonly trust: Hash
  readonly crit?: readonly string[] | undefined
}

export const trustHash = (trustFile: Uint8Array): Hash => taggedHash("statement", trustFile) as Hash

const organisation = z.string().refine(isOrganisation)

export const enrolmentStructure: Structure<EnrolmentRequest> = structureOf<EnrolmentRequest>(
  growing({
    v: z.literal(1),
    poc: shapes.poc,
    key: shapes.signingKey,
    member: shapes.signature,
    manifest: signedShape,
    trust: shapes.hash,
  }),
)

export const relayRequestStructure: Structure<RelayRequest> = structureOf<RelayRequest>(
  growing({
    v: z.literal(1),
    host: z.string().refine(isRelayHost),
    urls: z.array(z.string().max(300)).max(fixed.relayUrlsMax),
    organisation,
    key: shapes.signingKey,
    member: shapes.signature,
  }),
)

export const deviceOfferStructure: Structure<DeviceOffer> = structureOf<DeviceOffer>(
  growing({
    v: z.literal(1),
    poc: shapes.poc,
    device: manifestDeviceShape,
    officers: z.array(manifestOfficerShape).max(fixed.officersPerPocMax),
    trust: shapes.hash,
  }),
)

const proposalId = z.string().regex(/^[0-9a-f]{32}$/)
const secret = bytesOf(invitationBytes.secret)
const offerCode = bytesOf(offerCodeBytes)
const request = shapes.bytes
const invited = { poc: shapes.poc, organisation }

/** `logged`: it counts from now on, at this index. `waiting`: so many have approved. */
const submitted = z.discriminatedUnion("outcome", [
  z.strictObject({ outcome: z.literal("logged"), index: shapes.counter }),
  z.strictObject({ outcome: z.literal("waiting"), id: proposalId, approvals: shapes.counter }),
])
export type SubmittedAnswer = z.infer<typeof submitted>

const summary = z.strictObject({
  id: proposalId,
  kind: z.enum(entryKinds),
  /** Whom or what it is about, in a few words. */
  about: z.string().max(300),
  approvals: shapes.counter,
  created: shapes.seconds,
})
export type ProposalSummary = z.infer<typeof summary>

/** A change that waits: the exact body of its log entry, and what was handed in for it. */
const proposal = z.strictObject({
  id: proposalId,
  kind: z.enum(entryKinds),
  body: shapes.bytes,
  /** An `EnrolmentRequest` or a `RelayRequest`. */
  request: request.optional(),
  firstManifest: signedShape.optional(),
  approvals: z.array(signedShape).max(fixed.approvalsMax).readonly(),
  created: shapes.seconds,
})
export type ProposalAnswer = z.infer<typeof proposal>

const nothing = z.strictObject({})

/** What anybody may ask. */
export const questions = {
  /** Whom a code invites; it is not used up by this. */
  invitation: { question: z.strictObject({ secret }), answer: z.strictObject(invited) },
  /** Uses the code up. The same request again gets the same answer, brought up to date. */
  enrol: { question: z.strictObject({ secret, request }), answer: submitted },
  manifest: {
    question: z.strictObject({
      poc: shapes.poc,
      manifest: signedShape,
      coSignatures: z.array(coSignatureShape).max(fixed.devicesPerPocMax).readonly(),
    }),
    answer: submitted,
  },
  revocation: { question: z.strictObject({ statement: signedShape }), answer: submitted },
  /** A new certificate for a PoC's present key; its own approval is what it then waits for. */
  renewal: { question: z.strictObject({ poc: shapes.poc, member: shapes.signature }), answer: proposal },
  proposals: { question: nothing, answer: z.strictObject({ proposals: z.array(summary) }) },
  proposal: { question: z.strictObject({ id: proposalId }), answer: proposal },
  /** Logs the change as soon as enough have approved. */
  approve: { question: z.strictObject({ id: proposalId, approval: signedShape }), answer: submitted },
  /** A new device waits under this code for a quarter of an hour. */
  "offer-device": { question: z.strictObject({ code: offerCode, offer: shapes.bytes }), answer: nothing },
  "fetch-device": { question: z.strictObject({ code: offerCode }), answer: z.strictObject({ offer: shapes.bytes }) },
} as const satisfies QuestionTable

const nomination = z.strictObject({
  ...invited,
  /** `handed-in` once the code was used; `refused` if what was handed in was then withdrawn. */
  state: z.enum(["nominated", "invited", "expired", "handed-in", "refused", "logged"]),
  /** When the code ends. */
  expires: shapes.seconds.optional(),
  proposal: proposalId.optional(),
})
export type NominationAnswer = z.infer<typeof nomination>

/** What only the desk may ask: whoever may read and write the directory's folder. */
export const deskQuestions = {
  nominate: { question: z.strictObject(invited), answer: nothing },
  /** A new code; an earlier one for this PoC is worth nothing any more. */
  invite: {
    question: z.strictObject({ poc: shapes.poc }),
    answer: z.strictObject({ secret, expires: shapes.seconds }),
  },
  nominations: { question: nothing, answer: z.strictObject({ nominations: z.array(nomination) }) },
  "nominate-relay": { question: z.strictObject({ request }), answer: submitted },
  withdraw: { question: z.strictObject({ id: proposalId }), answer: nothing },
  "renew-ca": { question: nothing, answer: submitted },
} as const satisfies QuestionTable

export type QuestionTable = Record<string, { readonly question: z.ZodType; readonly answer: z.ZodType }>
export type Question<T extends QuestionTable, N extends keyof T> = z.infer<T[N]["question"]>
export type Answer<T extends QuestionTable, N extends keyof T> = z.infer<T[N]["answer"]>

/** What comes with a status of 400 or above. */
export const failureShape = z.strictObject({
  code: z.string().max(40),
  message: z.string().max(300),
  hint: z.string().max(500).optional(),
})

function bytesOf(length: number): z.ZodType<Uint8Array> {
  return z.custom<Uint8Array>((x) => x instanceof Uint8Array && x.length === length)
}
