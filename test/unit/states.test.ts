import { expect, test } from "vitest"
import { memberStates } from "../../pki/states.ts"

/** ISO 3166-1 codes of countries and territories that are no Members of the United Nations. */
const others =
  "ai aq as aw ax bl bm bq bv cc ck cw cx eh fk fo gf gg gi gl gp gs gu hk hm im io je ky mf mo mp mq ms nc nf nu pf pm pn pr ps re sh sj sx tc tf tk tw um va vg vi wf yt"

test("the directory knows the 193 Members of the United Nations", () => {
  expect(memberStates.size).toBe(193)
  expect([...memberStates].toSorted()).toEqual([...memberStates])
  for (const code of others.split(" ")) expect(memberStates.has(code), code).toBe(false)
})

test("every code is one that ISO 3166-1 assigns: Members and others together are all 249", () => {
  expect(memberStates.size + others.split(" ").length).toBe(249)
  const names = new Intl.DisplayNames("en", { type: "region", fallback: "none" })
  for (const code of memberStates) expect(names.of(code.toUpperCase()), code).toBeDefined()
  expect(names.of("XX")).toBeUndefined()
})
