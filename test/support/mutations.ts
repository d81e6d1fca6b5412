/** The certificate profile with one thing changed at a time, and the reason for which it is refused. */
import { concat } from "../../protocol/bytes.ts"
import { der, derOid, derText, tag } from "../../pki/der.ts"
import {
  ed25519Algorithm,
  encodeName,
  extendedKeyUsage,
  issuerName,
  p384Algorithm,
  type ExtensionName,
} from "../../pki/profile.ts"
import type { CertificateReason } from "../../pki/validator.ts"
import { mixedOrderKey } from "./edge-points.ts"
import { extension, keyInfo, keyOf, nameOf, uris, validityOf, withExtension, type Parts } from "./forge.ts"
import { bytesOf, signingKeyOf } from "./papers.ts"
import { exercise, live } from "./sealing.ts"

export type Mutation = readonly [what: string, reason: CertificateReason, change: (parts: Parts) => Partial<Parts>]

const key = signingKeyOf("holder")

/** Each changes one thing of the honest leaf, which is then signed by the real issuing CA. */
export const leafMutations: readonly Mutation[] = [
  ["version 1", "version", () => ({ version: undefined })],
  ["version 2", "version", () => ({ version: der(tag.explicit(0), der(tag.integer, Uint8Array.of(1))) })],
  ["a short serial", "serial", () => ({ serial: der(tag.integer, new Uint8Array(15).fill(0x41)) })],
  ["a long serial", "serial", () => ({ serial: der(tag.integer, new Uint8Array(17).fill(0x41)) })],
  [
    "a serial that is not random at its top",
    "serial",
    () => ({ serial: der(tag.integer, new Uint8Array(16).fill(0x21)) }),
  ],
  ["a negative serial", "der", () => ({ serial: der(tag.integer, new Uint8Array(16).fill(0x91)) })],
  [
    "a serial with a leading zero",
    "der",
    () => ({ serial: der(tag.integer, Uint8Array.of(0), new Uint8Array(15).fill(0x41)) }),
  ],
  ["another algorithm inside", "signature-algorithm", () => ({ algorithm: ed25519Algorithm })],
  [
    "another algorithm outside",
    "signature-algorithm",
    () => ({ outerAlgorithm: der(tag.sequence, derOid("1.2.840.10045.4.3.2")) }),
  ],
  [
    "parameters of the algorithm",
    "signature-algorithm",
    () => ({ algorithm: der(tag.sequence, derOid("1.2.840.10045.4.3.3"), der(0x05)) }),
  ],
  ["another issuer's name", "issuer", () => ({ issuer: encodeName(issuerName("root", live)) })],
  ["the exercise's issuer", "issuer", () => ({ issuer: encodeName(issuerName("issuing CA", exercise)) })],
  ["its own name as issuer's", "issuer", ({ subject }) => ({ issuer: subject })],
  ["no country", "subject", () => ({ subject: nameOf([O, utf8, "Agency of Tests"], [CN, utf8, "baobab"]) })],
  [
    "another country",
    "subject",
    () => ({ subject: nameOf([C, printable, "UG"], [O, utf8, "Agency of Tests"], [CN, utf8, "baobab"]) }),
  ],
  [
    "a country in lower case",
    "subject",
    () => ({ subject: nameOf([C, printable, "ke"], [O, utf8, "Agency of Tests"], [CN, utf8, "baobab"]) }),
  ],
  [
    "another agency",
    "subject",
    () => ({ subject: nameOf([C, printable, "KE"], [O, utf8, "Agency of Tests"], [CN, utf8, "acacia"]) }),
  ],
  ["no organisation", "subject", () => ({ subject: nameOf([C, printable, "KE"], [CN, utf8, "baobab"]) })],
  [
    "two organisations",
    "subject",
    () => ({ subject: nameOf([C, printable, "KE"], [O, utf8, "A"], [O, utf8, "B"], [CN, utf8, "baobab"]) }),
  ],
  [
    "an organisation that turns the text",
    "subject",
    () => ({ subject: nameOf([C, printable, "KE"], [O, utf8, "A\u202eB"], [CN, utf8, "baobab"]) }),
  ],
  [
    "a unit as well",
    "subject",
    () => ({ subject: nameOf([C, printable, "KE"], [O, utf8, "A"], [OU, utf8, "B"], [CN, utf8, "baobab"]) }),
  ],
  [
    "another string type",
    "subject",
    () => ({ subject: nameOf([C, printable, "KE"], [O, printable, "A"], [CN, utf8, "baobab"]) }),
  ],
  [
    "a string type that the profile has not",
    "der",
    () => ({ subject: nameOf([C, printable, "KE"], [O, 0x16, "A"], [CN, utf8, "baobab"]) }),
  ],
  [
    "a part of the name that is no set",
    "der",
    () => ({ subject: der(tag.sequence, der(tag.sequence, derOid(O), derText(utf8, "Agency of Tests"))) }),
  ],
  [
    "a part of the name with something after it",
    "der",
    () => ({
      subject: der(tag.sequence, der(tag.set, der(tag.sequence, derOid(O), derText(utf8, "A"), derText(utf8, "B")))),
    }),
  ],
  [
    "an extension with something after it",
    "der",
    ({ extensions }) => ({
      extensions: [
        ...extensions.slice(1),
        der(tag.sequence, derOid("2.5.29.19"), der(tag.octetString, der(tag.sequence)), der(tag.octetString)),
      ],
    }),
  ],
  [
    "an extension whose value is no octet string",
    "der",
    ({ extensions }) => ({
      extensions: [...extensions.slice(1), der(tag.sequence, derOid("2.5.29.19"), der(tag.sequence))],
    }),
  ],
  [
    "a malformed organisation",
    "der",
    () => ({ subject: der(tag.sequence, der(tag.set, der(tag.sequence, derOid(O), der(utf8, Uint8Array.of(0xff))))) }),
  ],
  [
    "no end that comes after its beginning",
    "lifetime",
    () => ({ validity: validityOf("270201000000Z", "270101000000Z") }),
  ],
  ["fourteen months", "lifetime", () => ({ validity: validityOf("270101000000Z", "280401000000Z") })],
  [
    "a beginning before the CA's",
    "outlives-issuer",
    () => ({ validity: validityOf("261201000000Z", "270601000000Z") }),
  ],
  ["an end after the CA's", "outlives-issuer", () => ({ validity: validityOf("311101000000Z", "320601000000Z") })],
  ["times that are not DER", "der", () => ({ validity: validityOf("2701150000Z", "270601000000Z") })],
  ["times with a zone", "der", () => ({ validity: validityOf("2701150000+0100", "270601000000Z") })],
  ["an impossible day", "der", () => ({ validity: validityOf("270115000000Z", "270231000000Z") })],
  ["a late form of an early time", "der", () => ({ validity: validityOf("20270115000000Z", "20270601000000Z") })],
  ["a key for another algorithm", "key-algorithm", () => ({ keyInfo: keyInfo(p384Algorithm, key.publicKey) })],
  [
    "X25519 for Ed25519",
    "key-algorithm",
    () => ({ keyInfo: keyInfo(der(tag.sequence, derOid("1.3.101.110")), key.publicKey) }),
  ],
  ["a short key", "public-key", () => ({ keyInfo: keyInfo(ed25519Algorithm, key.publicKey.subarray(1)) })],
  [
    "a key of mixed order",
    "public-key",
    () => ({ keyInfo: keyInfo(ed25519Algorithm, mixedOrderKey(bytesOf(32, "mixed")).publicKey) }),
  ],
  [
    "unused bits in the key",
    "der",
    () => ({ keyInfo: der(tag.sequence, ed25519Algorithm, der(tag.bitString, Uint8Array.of(1), key.publicKey)) }),
  ],
  ["a subject identifier of version 2", "der", () => ({ extra: der(tag.implicit(2), Uint8Array.of(0, 1)) })],
  [
    "an unknown extension",
    "unknown-extension",
    ({ extensions }) => ({ extensions: [...extensions, extension("2.5.29.32", false, der(tag.sequence))] }),
  ],
  [
    "an extension of another level",
    "unknown-extension",
    ({ extensions }) => ({ extensions: [...extensions, extension("2.5.29.30", true, der(tag.sequence))] }),
  ],
  ["an extension twice", "duplicate-extension", ({ extensions }) => ({ extensions: [...extensions, extensions[0]!] })],
  [
    "a critical flag that says false",
    "der",
    ({ extensions }) => ({
      extensions: [
        ...extensions.slice(1),
        der(
          tag.sequence,
          derOid("2.5.29.19"),
          der(tag.boolean, Uint8Array.of(0)),
          der(tag.octetString, der(tag.sequence)),
        ),
      ],
    }),
  ],
  ["no basic constraints", "basic-constraints", without("basic-constraints")],
  [
    "CA:TRUE",
    "basic-constraints",
    changed("basic-constraints", true, () => der(tag.sequence, der(tag.boolean, Uint8Array.of(0xff)))),
  ],
  ["basic constraints not critical", "critical-flag", changed("basic-constraints", false, () => der(tag.sequence))],
  ["no key usage", "key-usage", without("key-usage")],
  [
    "keyCertSign as well",
    "key-usage",
    changed("key-usage", true, () => der(tag.bitString, Uint8Array.of(2, 0b1000_0100))),
  ],
  [
    "digitalSignature with spare bits",
    "key-usage",
    changed("key-usage", true, () => der(tag.bitString, Uint8Array.of(0, 0b1000_0000))),
  ],
  [
    "key usage not critical",
    "critical-flag",
    changed("key-usage", false, () => der(tag.bitString, Uint8Array.of(7, 0x80))),
  ],
  ["no extended key usage", "extended-key-usage", without("extended-key-usage")],
  [
    "another use",
    "extended-key-usage",
    changed("extended-key-usage", true, () => der(tag.sequence, derOid(extendedKeyUsage.relay))),
  ],
  [
    "two uses",
    "extended-key-usage",
    changed("extended-key-usage", true, () =>
      der(tag.sequence, derOid(extendedKeyUsage.poc), derOid(extendedKeyUsage.secretariat)),
    ),
  ],
  [
    "any use",
    "extended-key-usage",
    changed("extended-key-usage", true, () => der(tag.sequence, derOid("2.5.29.37.0"))),
  ],
  [
    "extended key usage not critical",
    "critical-flag",
    changed("extended-key-usage", false, () => der(tag.sequence, derOid(extendedKeyUsage.poc))),
  ],
  ["no alternative name", "outside-name-constraints", without("subject-alternative-name")],
  [
    "a host outside the origin",
    "outside-name-constraints",
    changed("subject-alternative-name", false, () => uris("poc://baobab.technical.ke.elsewhere.example/")),
  ],
  [
    "the origin itself",
    "outside-name-constraints",
    changed("subject-alternative-name", false, () => uris("poc://directory.example/")),
  ],
  [
    "a host that only ends alike",
    "outside-name-constraints",
    changed("subject-alternative-name", false, () => uris("poc://ke.otherdirectory.example/")),
  ],
  [
    "a user before the host",
    "outside-name-constraints",
    changed("subject-alternative-name", false, () => uris("poc://x@baobab.technical.ke.directory.example/")),
  ],
  [
    "two names",
    "outside-name-constraints",
    changed("subject-alternative-name", false, () => uris(sanOfKenya, sanOfKenya)),
  ],
  [
    "a DNS name",
    "outside-name-constraints",
    changed("subject-alternative-name", false, () =>
      der(tag.sequence, derText(tag.implicit(2), "ke.directory.example")),
    ),
  ],
  [
    "another PoC's name",
    "subject-alternative-name",
    changed("subject-alternative-name", false, () => uris("poc://acacia.technical.ke.directory.example/")),
  ],
  [
    "another role's name",
    "subject-alternative-name",
    changed("subject-alternative-name", false, () => uris("poc://baobab.diplomatic.ke.directory.example/")),
  ],
  [
    "a name with a path",
    "outside-name-constraints",
    changed("subject-alternative-name", false, () => uris(`${sanOfKenya}x`)),
  ],
  ["a critical alternative name", "critical-flag", changed("subject-alternative-name", true, () => uris(sanOfKenya))],
  [
    "another subject key id",
    "subject-key-id",
    changed("subject-key-id", false, () => der(tag.octetString, new Uint8Array(20))),
  ],
  [
    "another authority key id",
    "authority-key-id",
    changed("authority-key-id", false, () => der(tag.sequence, der(tag.implicit(0), new Uint8Array(20)))),
  ],
  ["no authority key id", "authority-key-id", without("authority-key-id")],
]

/** The same for the issuing CA, signed by the real root. */
export const caMutations: readonly Mutation[] = [
  ["version 1", "version", () => ({ version: undefined })],
  ["another issuer's name", "issuer", () => ({ issuer: encodeName(issuerName("root", exercise)) })],
  ["another subject", "subject", () => ({ subject: encodeName(issuerName("issuing CA", exercise)) })],
  ["a State's CA", "subject", () => ({ subject: nameOf([C, printable, "KE"], [O, utf8, "A"], [CN, utf8, "CA"]) })],
  ["six years", "lifetime", () => ({ validity: validityOf("270115000000Z", "330116000000Z") })],
  ["an end after the root's", "outlives-issuer", () => ({ validity: validityOf("450115000000Z", "490115000000Z") })],
  ["an Ed25519 key", "key-algorithm", () => ({ keyInfo: keyInfo(ed25519Algorithm, key.publicKey) })],
  [
    "a P-256 key",
    "key-algorithm",
    (parts) => ({
      keyInfo: keyInfo(der(tag.sequence, derOid("1.2.840.10045.2.1"), derOid("1.2.840.10045.3.1.7")), keyOf(parts)),
    }),
  ],
  [
    "a compressed key",
    "public-key",
    (parts) => ({ keyInfo: keyInfo(p384Algorithm, concat(Uint8Array.of(2), keyOf(parts).subarray(1, 49))) }),
  ],
  [
    "a point off the curve",
    "public-key",
    (parts) => ({
      keyInfo: keyInfo(
        p384Algorithm,
        keyOf(parts).map((x, i) => (i === 96 ? x ^ 1 : x)),
      ),
    }),
  ],
  [
    "no path length",
    "basic-constraints",
    changed("basic-constraints", true, () => der(tag.sequence, der(tag.boolean, Uint8Array.of(0xff)))),
  ],
  [
    "path length 1",
    "basic-constraints",
    changed("basic-constraints", true, () =>
      der(tag.sequence, der(tag.boolean, Uint8Array.of(0xff)), der(tag.integer, Uint8Array.of(1))),
    ),
  ],
  ["CA:FALSE", "basic-constraints", changed("basic-constraints", true, () => der(tag.sequence))],
  [
    "basic constraints not critical",
    "critical-flag",
    changed("basic-constraints", false, () =>
      der(tag.sequence, der(tag.boolean, Uint8Array.of(0xff)), der(tag.integer, Uint8Array.of(0))),
    ),
  ],
  [
    "digitalSignature as well",
    "key-usage",
    changed("key-usage", true, () => der(tag.bitString, Uint8Array.of(1, 0b1000_0110))),
  ],
  [
    "key usage not critical",
    "critical-flag",
    changed("key-usage", false, () => der(tag.bitString, Uint8Array.of(1, 6))),
  ],
  ["no name constraints", "name-constraints", without("name-constraints")],
  [
    "another origin's constraint",
    "name-constraints",
    changed("name-constraints", true, () => constraint(".elsewhere.example")),
  ],
  [
    "a constraint on the origin's own host",
    "name-constraints",
    changed("name-constraints", true, () => constraint("directory.example")),
  ],
  [
    "a second permitted host",
    "name-constraints",
    changed("name-constraints", true, () =>
      der(
        tag.sequence,
        der(
          tag.explicit(0),
          ...[".directory.example", ".elsewhere.example"].map((x) => der(tag.sequence, derText(tag.implicit(6), x))),
        ),
      ),
    ),
  ],
  [
    "name constraints not critical",
    "critical-flag",
    changed("name-constraints", false, () => constraint(".directory.example")),
  ],
  [
    "an extended key usage",
    "unknown-extension",
    ({ extensions }) => ({
      extensions: [...extensions, extension("2.5.29.37", true, der(tag.sequence, derOid(extendedKeyUsage.poc)))],
    }),
  ],
  [
    "another subject key id",
    "subject-key-id",
    changed("subject-key-id", false, () => der(tag.octetString, new Uint8Array(20))),
  ],
  [
    "another authority key id",
    "authority-key-id",
    changed("authority-key-id", false, () => der(tag.sequence, der(tag.implicit(0), new Uint8Array(20)))),
  ],
]

/** And for the root, signed by itself. */
export const rootMutations: readonly Mutation[] = [
  ["another directory's name", "issuer", () => both(issuerName("root", { origin: "elsewhere.example", mode: "live" }))],
  ["the exercise's name", "issuer", () => both(issuerName("root", exercise))],
  ["a subject that is not its issuer", "subject", () => ({ subject: encodeName(issuerName("issuing CA", live)) })],
  [
    "a point off the curve",
    "public-key",
    (parts) => ({
      keyInfo: keyInfo(
        p384Algorithm,
        keyOf(parts).map((x, at) => (at === 96 ? x ^ 1 : x)),
      ),
    }),
  ],
  ["twenty-one years", "lifetime", () => ({ validity: validityOf("270115000000Z", "480315000000Z") })],
  [
    "no path length",
    "basic-constraints",
    changed("basic-constraints", true, () => der(tag.sequence, der(tag.boolean, Uint8Array.of(0xff)))),
  ],
  [
    "path length 2",
    "basic-constraints",
    changed("basic-constraints", true, () =>
      der(tag.sequence, der(tag.boolean, Uint8Array.of(0xff)), der(tag.integer, Uint8Array.of(2))),
    ),
  ],
  ["another key usage", "key-usage", changed("key-usage", true, () => der(tag.bitString, Uint8Array.of(2, 4)))],
  ["an Ed25519 key", "key-algorithm", () => ({ keyInfo: keyInfo(ed25519Algorithm, key.publicKey) })],
  [
    "name constraints",
    "unknown-extension",
    ({ extensions }) => ({
      extensions: [...extensions, extension("2.5.29.30", true, constraint(".directory.example"))],
    }),
  ],
  [
    "another subject key id",
    "subject-key-id",
    changed("subject-key-id", false, () => der(tag.octetString, new Uint8Array(20))),
  ],
]

const [C, O, OU, CN] = ["2.5.4.6", "2.5.4.10", "2.5.4.11", "2.5.4.3"] as const
const [utf8, printable] = [tag.utf8String, tag.printableString] as const
const sanOfKenya = "poc://baobab.technical.ke.directory.example/"

function constraint(host: string): Uint8Array {
  return der(tag.sequence, der(tag.explicit(0), der(tag.sequence, derText(tag.implicit(6), host))))
}

function without(name: ExtensionName) {
  return ({ extensions }: Parts): Partial<Parts> => ({ extensions: withExtension(extensions, name, undefined) })
}

function changed(name: ExtensionName, critical: boolean, value: () => Uint8Array) {
  return ({ extensions }: Parts): Partial<Parts> => ({
    extensions: withExtension(extensions, name, { critical, value: value() }),
  })
}

function both(name: ReturnType<typeof issuerName>): Partial<Parts> {
  return { issuer: encodeName(name), subject: encodeName(name) }
}
