/** The PoC's own devices and officers: who is listed, and how that changes. */
import type { Command } from "commander"
import type { DeviceMember, Members, OfficerMember } from "../../client-sdk/index.ts"
import { print, safe, table } from "../io.ts"
import { approveOffer, linkDevice, showOffer, type ApproveDeviceOptions, type LinkOptions } from "../linking.ts"
import { endDevice, endOfficer, newOfficer, type MemberOptions } from "../members.ts"
import { wordsLine } from "../words-directory.ts"
import { example } from "./messages.ts"
import { action, withPoc } from "./with-poc.ts"

export function memberVerbs(program: Command): void {
  deviceVerbs(
    program
      .command("device")
      .description("this PoC's devices")
      .addHelpText("after", example("valise --as ke/technical device list")),
  )
  officerVerbs(
    program
      .command("officer")
      .description("this PoC's officers on duty")
      .addHelpText("after", example("valise --as ke/technical officer list")),
  )
}

function deviceVerbs(device: Command): void {
  device
    .command("list", { isDefault: true })
    .description("the devices that the manifest lists")
    .addHelpText("after", example("valise --as ke/technical device list"))
    .action(
      withPoc(false, (io, poc) => {
        const { devices, expires, version } = poc.members()
        print(io, { devices, version, expires }, () => devicesWords(devices, { version, expires }))
      }),
    )
  device
    .command("link")
    .description("make this machine a further device of a PoC: keys here, a short code for the device that lists it")
    .requiredOption("--poc <address>", "whose device it becomes, e.g. ke/technical/baobab")
    .option("--directory <url>", "where the directory's service is reached; in a sandbox it is known")
    .option("--officer-title <text>", "the duty of the officer at this device", "deputy duty officer")
    .addHelpText("after", example("valise device link --help"))
    .action(
      action<LinkOptions>(async (io, options) => {
        const isOnLine = await linkDevice(options, ({ code, words }) =>
          print(io, { event: "offered", code, words: words.join(" ") }, () =>
            [
              `At the device that holds the PoC's key, within a quarter of an hour: valise device approve ${code}`,
              wordsLine(words),
              "Both screens must show the same ten words.",
            ].join("\n"),
          ),
        )
        print(io, { event: "linked", onLine: isOnLine }, () =>
          isOnLine
            ? "listed: this device receives from now on what is written to the PoC"
            : "listed; it receives what is written to the PoC once it has been on line: valise inbox watch",
        )
      }),
    )
  device
    .command("approve")
    .description("show the device that waits under a code, or list it with --words")
    .argument("<code>", "as the new device shows it")
    .option("--words <words>", "the ten words on the new device's screen")
    .option("--directory <url>", "where the directory's service is reached")
    .addHelpText("after", example("valise device approve --help"))
    .action(
      action<ApproveDeviceOptions>(async (io, options, code) => {
        const { words: given } = options
        const shown = await (given === undefined
          ? showOffer(options, code)
          : approveOffer({ ...options, words: given }, code))
        const { device, officers, words } = shown
        const what = `device ${device.slice(0, 8)}${officers.length > 0 ? `, officer "${safe(officers.join('", "'))}"` : ""}`
        print(io, { ...shown, words: words.join(" "), listed: given !== undefined }, () =>
          given === undefined
            ? [
                what,
                wordsLine(words),
                `If the new device shows the same ten words: valise device approve ${code} --words "…"`,
              ].join("\n")
            : `listed: ${what}`,
        )
      }),
    )
  device
    .command("remove")
    .description(
      "end a device that is lost or given up: nobody seals to it any more, and the relay drops what it kept for it",
    )
    .argument("<id>", "any unique beginning of its id")
    .option("--directory <url>", "where the directory's service is reached")
    .addHelpText("after", example("valise device remove --help"))
    .action(
      action<MemberOptions>(async (io, options, id) => {
        const members = await endDevice(options, id)
        print(io, members, () => devicesWords(members.devices, members))
      }),
    )
}

function officerVerbs(officer: Command): void {
  officer
    .command("list", { isDefault: true })
    .description("the officers that the manifest lists")
    .addHelpText("after", example("valise --as ke/technical officer list"))
    .action(
      withPoc(false, (io, poc) => {
        const { officers } = poc.members()
        print(io, { officers }, () => officersWords(officers))
      }),
    )
  officer
    .command("add")
    .description("make an officer's key here, and list it; from then on this home acts as that officer")
    .argument("<title>", 'the duty, e.g. "duty officer 2"; the holder\'s name stays at home')
    .option("--directory <url>", "where the directory's service is reached")
    .addHelpText("after", example("valise officer add --help"))
    .action(
      action<MemberOptions>(async (io, options, title) => {
        const { officers } = await newOfficer(options, title)
        print(io, { officers }, () => officersWords(officers))
      }),
    )
  officer
    .command("remove")
    .description("end an officer's duty: the key signs no more")
    .argument("<officer>", "the title, or any unique beginning of the id")
    .option("--directory <url>", "where the directory's service is reached")
    .addHelpText("after", example("valise officer remove --help"))
    .action(
      action<MemberOptions>(async (io, options, named) => {
        const { officers } = await endOfficer(options, named)
        print(io, { officers }, () => officersWords(officers))
      }),
    )
}

function devicesWords(
  devices: readonly DeviceMember[],
  { version, expires }: Pick<Members, "version" | "expires">,
): string {
  const rows = devices.map((device) => [
    device.id.slice(0, 8),
    device.relay,
    device.rights.join(", "),
    device.here ? "this device" : "",
    device.ended ? `revoked ${device.ended}` : device.usableFrom ? `used from ${device.usableFrom}` : "",
  ])
  return `${table(rows)}\nmanifest ${version}, until ${expires}`
}

const officersWords = (officers: readonly OfficerMember[]): string =>
  officers.length === 0
    ? "no officer is on duty: nothing can be sent or acknowledged"
    : table(
        officers.map(({ ended, here, id, rights, title }) => [
          id.slice(0, 8),
          `"${safe(title)}"`,
          rights.join(", "),
          here ? "key in this vault" : "",
          ended ? `revoked ${ended}` : "",
        ]),
      )
