import { describe, expect, test } from "vitest"
import { SigningKey } from "../../protocol/primitives.ts"
import {
  encodeVerifierKey,
  parseVerifierKey,
  verifierKey,
  type SignatureType,
  type VerifierKey,
} from "../../pki/note.ts"
import { describePolicy, noWitnesses, parsePolicy, quorumTime } from "../../pki/policy.ts"

const vkey = (seed: number, type: SignatureType = "cosignature") =>
  encodeVerifierKey(verifierKey(`w${seed}.example`, type, new SigningKey(new Uint8Array(32).fill(seed)).publicKey))

const witnesses = `
witness X1 ${vkey(1)}
witness X2 ${vkey(2)} https://x2.example/
witness X3 ${vkey(3)}
witness Y1 ${vkey(4)}
witness Y2 ${vkey(5)}
`
const nested = `# the example of tlog-policy
log ${vkey(9, "ed25519")} https://log.example/
${witnesses}
group X-witnesses 2 X1 X2 X3
\tgroup  Y-witnesses\tany Y1 Y2 \n
group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
`

const refused = (text: string) =>
  expect(() => parsePolicy(text)).toThrow(expect.objectContaining({ code: "ERR_MALFORMED" }))

describe("reading a policy", () => {
  test("groups nest; the text is kept as written", () => {
    const policy = parsePolicy(nested)
    expect(policy.text).toBe(nested)
    expect(policy.logs).toEqual([parseVerifierKey(vkey(9, "ed25519"))])
    expect(policy.witnesses).toHaveLength(5)
    expect(describePolicy(policy)).toBe("cosigned by 2 of (2 of (X1, X2, X3), 1 of (Y1, Y2))")
  })

  test("no witnesses is said in words", () => {
    expect(describePolicy(noWitnesses)).toBe("no witnesses: the operator's word only")
    expect(parsePolicy(`${witnesses}quorum none\n`).quorum).toEqual({ kind: "none" })
  })

  test("a single witness can be the quorum", () => {
    expect(describePolicy(parsePolicy(`${witnesses}quorum X2\n`))).toBe("cosigned by X2")
  })

  test.each([
    ["no quorum", witnesses],
    ["two quorums", "quorum none\nquorum none\n"],
    ["a cut last line", nested.slice(0, -1)],
    ["another character for the last newline", "quorum nonex"],
    [
      "too many logs",
      Array.from({ length: 65 }, (_, i) => `log ${vkey(i + 1, "ed25519")}\n`).join("") + "quorum none\n",
    ],
    ["an unknown keyword", `${nested}relay x\n`],
    ["an unknown quorum", `${witnesses}quorum Z\n`],
    ["a name used before its line", `group g any X1\n${witnesses}quorum g\n`],
    ["a name defined twice", `${witnesses}witness X1 ${vkey(7)}\nquorum X1\n`],
    ["a witness named none", `witness none ${vkey(7)}\nquorum none\n`],
    ["none as a member", `${witnesses}group g any none\nquorum g\n`],
    ["a key listed twice", `${witnesses}witness Z ${vkey(1)}\nquorum X1\n`],
    ["one witness in two groups", `${witnesses}group a any X1\ngroup b any X1\ngroup c all a b\nquorum c\n`],
    ["one witness twice in a group", `${witnesses}group a 2 X1 X1\nquorum a\n`],
    ["a group without members", `${witnesses}group a any\nquorum a\n`],
    ["a threshold of nought", `${witnesses}group a 0 X1\nquorum a\n`],
    ["a threshold above the members", `${witnesses}group a 3 X1 X2\nquorum a\n`],
    ["a threshold with a leading zero", `${witnesses}group a 01 X1\nquorum a\n`],
    ["a threshold that is no number", `${witnesses}group a most X1\nquorum a\n`],
    ["a log key as a witness", `witness a ${vkey(7, "ed25519")}\nquorum a\n`],
    ["a witness key as a log", `log ${vkey(7)}\nquorum none\n`],
    ["a key whose id does not fit", `witness a ${vkey(7).replace(/\+[0-9a-f]{8}\+/, "+00000000+")}\nquorum a\n`],
    ["a fourth word", `witness a ${vkey(7)} https://a.example/ x\nquorum a\n`],
    ["a carriage return", "quorum none\r\n"],
    ["a no-break space between words", "quorum\u00a0none\n"],
    [
      "too many names",
      `${witnesses}${Array.from({ length: 60 }, (_, i) => `group g${i} any ${i ? `g${i - 1}` : "X1"}\n`).join("")}quorum none\n`,
    ],
    ["too long a text", `#${"x".repeat(70_000)}\nquorum none\n`],
  ])("%s is refused", (_, text) => refused(text))
})

describe("the quorum's time", () => {
  const policy = parsePolicy(nested)
  const times = (seconds: Record<string, number>) => (key: VerifierKey) => seconds[key.name]
  const at = (seconds: Record<string, number>) =>
    policy.quorum.kind === "none" ? expect.fail() : quorumTime(policy.quorum, times(seconds))

  test.each([
    ["nobody", {}, undefined],
    ["enough of X, none of Y", { "w1.example": 5, "w2.example": 6 }, undefined],
    ["too few of X", { "w1.example": 5, "w4.example": 6 }, undefined],
    ["the slower of the two that are needed", { "w1.example": 5, "w2.example": 6, "w4.example": 9 }, 5],
    ["a third makes it later", { "w1.example": 5, "w2.example": 6, "w3.example": 8, "w4.example": 9 }, 6],
    ["the older group decides", { "w1.example": 50, "w2.example": 60, "w4.example": 9, "w5.example": 7 }, 9],
  ])("%s", (_, seconds, expected) => expect(at(seconds as Record<string, number>)).toBe(expected))
})
