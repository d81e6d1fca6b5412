/** What `npm run mutation` changes, and the tests that must notice: fast ones, in this process. Paths from the root. */
export interface Group {
  readonly sources: readonly string[]
  readonly tests: readonly string[]
}

export const groups: Record<string, Group> = {
  sealing: {
    sources: ["seal", "leaves", "padding", "header", "envelope"].map((name) => `protocol/${name}.ts`),
    tests: [
      ...["seal-open", "header", "padding", "hpke", "vectors"].map((name) => `test/unit/${name}.test.ts`),
      ...["03", "12", "14-mode", "16", "18", "28", "33"].map((row) => `test/attacks/${row}-*.test.ts`),
    ],
  },
  opening: {
    sources: ["open", "payload"].map((name) => `protocol/${name}.ts`),
    tests: [
      "test/unit/seal-open.test.ts",
      "test/unit/vectors.test.ts",
      ...["01", "02", "03", "04", "06", "07", "12", "14-mode", "18", "20-checkpoint", "23", "28"].map(
        (row) => `test/attacks/${row}-*.test.ts`,
      ),
    ],
  },
  consent: {
    sources: ["consent", "forward"].map((name) => `protocol/${name}.ts`),
    tests: [
      "test/unit/consent-graph.test.ts",
      "test/unit/statement-codec.test.ts",
      "test/unit/statement-vectors.test.ts",
      ...["25-consent", "26", "27-fourth"].map((row) => `test/attacks/${row}*.test.ts`),
    ],
  },
  "log-proofs": {
    sources: ["tree", "checkpoint", "note"].map((name) => `pki/${name}.ts`),
    tests: [
      ...["tree", "tiles", "log-vectors", "checkpoint", "note"].map((name) => `test/unit/${name}.test.ts`),
      ...["20-split-view", "21-frozen"].map((row) => `test/attacks/${row}*.test.ts`),
    ],
  },
  validator: {
    sources: ["pki/validator.ts"],
    tests: [
      ...["certificate", "certificate-profile", "pki-vectors"].map((name) => `test/unit/${name}.test.ts`),
      "test/attacks/17-certificate-keys.test.ts",
    ],
  },
  mailbox: {
    sources: [
      "relay/store-segment.ts",
      ...["clean", "index", "log", "open", "read", "record", "scan"].map((name) => `relay/segment-${name}.ts`),
    ],
    tests: [
      "test/mutation/mailbox.ts",
      ...["segments", "segment-clean", "segment-log", "segment-scan", "segment-read"].map(
        (name) => `test/unit/${name}.test.ts`,
      ),
    ],
  },
}
