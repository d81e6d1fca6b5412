/** The sandbox's cast: invented agencies of four States, and the Secretariat. None of them exists. */

export interface Agency {
  readonly state: string
  readonly role: string
  readonly agency: string
  readonly organisation: string
  readonly devices: number
  /** Answers by itself once the story has been told; visibly, and only in an exercise. */
  readonly automatic: boolean
}

export const cast = {
  ke: {
    state: "ke",
    role: "technical",
    agency: "baobab",
    organisation: "Baobab Exercise CERT",
    devices: 1,
    automatic: false,
  },
  sg: {
    state: "sg",
    role: "technical",
    agency: "banyan",
    organisation: "Banyan Exercise CERT",
    devices: 1,
    automatic: true,
  },
  br: { state: "br", role: "technical", agency: "ipe", organisation: "Ipe Exercise CERT", devices: 2, automatic: true },
  fr: {
    state: "fr",
    role: "technical",
    agency: "mimosa",
    organisation: "Mimosa Exercise CERT",
    devices: 1,
    automatic: true,
  },
  frDiplomatic: {
    state: "fr",
    role: "diplomatic",
    agency: "cedar",
    organisation: "Cedar Exercise Ministry",
    devices: 1,
    automatic: true,
  },
  un: {
    state: "un",
    role: "secretariat",
    agency: "exercise",
    organisation: "Exercise Secretariat",
    devices: 1,
    automatic: false,
  },
} as const satisfies Record<string, Agency>

export type Name = keyof typeof cast
export const names = Object.keys(cast) as Name[]

export const officerTitle = "duty officer (exercise)"
export const automaticTitle = "automatic answer (exercise)"

export const realm = { origin: "sandbox.valise.example", mode: "exercise" } as const
export const relayHost = "relay.sandbox.valise.example"
