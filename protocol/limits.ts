/** Every bound of the protocol, with its reason (SPEC §12). `fixed` by the specification; `chosen` may differ per relay. */
export const fixed = {
  /** Smallest padded payload: most notifications and all receipts look alike. */
  payloadBytesMin: 4096,
  /** Largest padded payload: one envelope fits one frame, and 64 of them fit a small relay's memory. */
  payloadBytesMax: 65_536,
  /** All leaves of one message, uncompressed: an inflation bomb ends here. */
  contentBytesMax: 1_048_576,
  /** Leaves of one message. */
  leavesMax: 64,
  leafNameBytesMax: 64,
  /** Recipient devices of one message: 193 States, a few PoCs each, a few devices each. */
  recipientsMax: 4096,
  /** A message's life, and so the relay's keeping time. */
  lifetimeSecondsMax: 14 * 86_400,
  /** How far `created` may lie in the reader's future: clocks of duty desks are seldom better. */
  clockSkewSecondsMax: 600,
  /** A rotating prekey serves so long; a PoC that was off for two weeks can still be written to. */
  rotatingPrekeySeconds: 15 * 86_400,
  rotatingPrekeyEverySeconds: 86_400,
  /** A superseded rotating key older than this means that newer ones were withheld. */
  staleRotatingSeconds: 48 * 3600,
  oneTimePrekeys: 64,
  oneTimeRefillAt: 16,
  /** Prekeys in one publish frame: 16 × 1.5 KB stays below a frame's maximum. */
  prekeysPerPublish: 16,
  /** A replay entry outlives its message by this much. */
  replayGraceSeconds: 86_400,
  manifestSecondsMax: 90 * 86_400,
  manifestGraceSeconds: 30 * 86_400,
  devicesPerPocMax: 16,
  officersPerPocMax: 64,
  /** A device that no older device co-signed waits so long before peers seal to it. */
  newDeviceWaitSeconds: 86_400,
  consentSeconds: 14 * 86_400,
  /** A checkpoint's witnesses must have signed within this time. */
  checkpointSecondsMax: 72 * 3600,
  /** One log entry: C2SP tiles prefix entries with 16 bits. */
  logEntryBytesMax: 65_535,
  addressBytesMax: 128,
  hostBytesMax: 255,
} as const

export const chosen = {
  /** Before login a stranger may hold so much of the relay, and so long. */
  strangerBytesMax: 4096,
  strangerSecondsMax: 10,
  /** One WebSocket message: the largest envelope, its frame, and room to grow. */
  frameBytesMax: 72 * 1024,
  /** Envelopes that one mailbox holds: two weeks of a busy exercise. */
  mailboxEnvelopesMax: 10_000,
  mailboxBytesMax: 256 * 1024 * 1024,
  /** Unread output per connection before a slow reader is cut. */
  unreadBytesMax: 4 * 1024 * 1024,
  /** Submissions under way per connection (credits): covers a 250 ms round trip at 1,000 envelopes a second. */
  credits: 256,
  /** Envelopes on their way to a device, not yet collected. */
  deliveriesInFlightMax: 128,
  /** Prekey fetches of one PoC an hour: 193 States × 4 devices twice over; more is a drain. */
  prekeyFetchesPerHour: 2000,
  /** Submissions of one PoC a minute; all PoCs have the same. */
  submissionsPerMinute: 6000,
  logEntriesPerAnswer: 256,
} as const
