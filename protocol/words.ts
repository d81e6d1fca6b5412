/**
 * Verification words (SPEC, "Directory service"): what two people compare over a channel that nobody else speaks on. They
 * name exactly the bytes that were handed in: a machine in between that changes one of them changes the words.
 */
import { taggedHash } from "./hash.ts"

/**
 * Ten words of eight bits each: to find other keys with the same words takes 2^80 tries, for one who prepares them, too.
 * @param kind what the bytes are, so that the words for one thing never name another
 */
export function verificationWords(kind: HandedIn, bytes: Uint8Array): readonly string[] {
  return [...taggedHash("words", kind, bytes).subarray(0, 10)].map((byte) => wordList[byte]!)
}

export type HandedIn = "enrolment" | "relay" | "officer" | "device" | "proposal"

/** Words as typed by a person: in any case, with any separators. */
export const readWords = (text: string): readonly string[] => text.toLowerCase().match(/[a-z]+/g) ?? []

/** Short, common, and no two of them alike in sound or spelling; the index is the byte. */
export const wordList: readonly string[] = `
  acorn actor adult album alley amber anchor ankle apple apron arrow aspen atlas attic autumn badge baker bamboo
  banana banner barrel basil basket beacon beaver bishop blanket blossom border bottle branch bridge bronze bucket
  buffalo butter button cabin cactus camel candle canoe canyon carbon carpet castle cattle cedar cello cement
  chapel cherry chimney cinema circus clover cobalt coconut coffee comet copper coral cotton cousin cradle crater
  cricket crystal curtain cyclone dagger daisy dancer decade delta desert diamond dinner doctor dolphin donkey
  dragon drummer eagle easel echo elbow emerald engine escort fabric falcon family farmer feather fender ferry
  fiddle figure finger flannel fossil fountain garden garlic geyser ginger giraffe glacier goblet gravel guitar
  hammer harbour harvest hazel helmet heron hiking honey horizon hotel hunter iceberg igloo impulse indigo insect
  island ivory jacket jaguar jasmine jersey jigsaw jungle kayak kernel kettle kidney kitchen koala ladder lagoon
  lantern lemon leopard lettuce library lily lizard lobster locket lumber magnet mammal mango maple marble market
  meadow melon meteor mineral mirror monsoon mosaic muffin museum napkin nectar needle nephew nickel novel nutmeg
  oasis ocean olive onion opera orange orchid organ otter oxygen oyster paddle palace panda paper parrot pebble
  pelican pencil pepper piano pigeon pillow planet plaster pocket poet poplar potato prairie python quarry quartz
  rabbit radar raven ribbon river robin rocket saddle saffron salmon satchel saturn scooter season shadow silver
  siren sparrow spider sponge squirrel stadium summit sunset sweater table teapot temple thunder tiger timber
  tomato topaz tornado tractor tulip tunnel turtle umbrella valley velvet violin volcano wagon walnut weather
  whistle
`
  .trim()
  .split(/\s+/)
