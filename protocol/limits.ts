/** Every bound of the protocol, with its reason (SPEC, "Limits"). `fixed` by the specification; `chosen` may differ per relay. */
export const fixed = {
  /** Smallest padded payload: most notifications and all receipts look alike. */
  payloadBytesMin: 4096,
  /** Largest padded payload: one envelope fits one frame, and 64 of them fit a small relay's memory. */
  payloadBytesMax: 65_536,
  /** All leaves of one message, uncompressed: an inflation bomb ends here. */
  contentBytesMax: 1_048_576,
  /** Leaves of one message. */
  leavesMax: 64,
  /** A name is a word, not a place to hide content. */
  leafNameBytesMax: 64,
  /** Recipient devices of one message: 193 States, a few PoCs each, a few devices each. */
  recipientsMax: 4096,
  /** A message's life, and so the relay's keeping time. */
  lifetimeSecondsMax: 14 * 86_400,
  /** How far `created` may lie in the reader's future: clocks of duty desks are seldom better. */
  clockSkewSecondsMax: 600,
  /** A rotating prekey serves so long; a PoC that was off for two weeks can still be written to. */
  rotatingPrekeySeconds: 15 * 86_400,
  /** A new rotating prekey a day: what a thief gains by one is a day. */
  rotatingPrekeyEverySeconds: 86_400,
  /** A superseded rotating key older than this means that newer ones were withheld. */
  staleRotatingSeconds: 48 * 3600,
  /** One-time prekeys at the relay: a busy day without the device; 64 × 1.4 KB. */
  oneTimePrekeys: 64,
  /** So few are left when the device makes new ones: a quarter, so that a burst does not empty the pool. */
  oneTimeRefillAt: 16,
  /** Prekeys in one publish frame: 16 × 1.5 KB stays below a frame's maximum. */
  prekeysPerPublish: 16,
  /** A replay entry outlives its message by this much. */
  replayGraceSeconds: 86_400,
  /** A manifest lasts a quarter: a lost device is forgotten by itself. */
  manifestSecondsMax: 90 * 86_400,
  /** And a month with a banner, because duty desks miss dates. */
  manifestGraceSeconds: 30 * 86_400,
  /** A duty desk, its deputies and their spares. */
  devicesPerPocMax: 16,
  /** Three shifts of every duty function. */
  officersPerPocMax: 64,
  /** A device that no older device co-signed waits so long before peers seal to it. */
  newDeviceWaitSeconds: 86_400,
  /** A consent is to be used within this time. */
  consentSeconds: 14 * 86_400,
  /** An attestation lives at most so long; a year later the third party asks again. */
  attestationSecondsMax: 366 * 86_400,
  /** PoCs that must consent: a broadcast to all States, two PoCs each, still fits one envelope with their consents. */
  involvedMax: 512,
  /** A purpose or a reason is read by a duty officer before a decision: half a page, in Unicode code points. */
  purposeCharactersMax: 1000,
  /** A title is one line on a screen. */
  officerTitleCharactersMax: 100,
  /** Items of one relay receipt's batch: all credits of 256 connections at once; a path then has at most 16 hashes. */
  receiptBatchMax: 65_536,
  /** The depth of the largest batch. */
  receiptPathMax: 16,
  /** A checkpoint's witnesses must have signed within this time. */
  checkpointSecondsMax: 72 * 3600,
  /** One log entry: C2SP tiles prefix entries with 16 bits. */
  logEntryBytesMax: 65_535,
  /** Officers of the Secretariat who must agree, each with an own key: no single person, and no single thief. */
  approvalsMin: 2,
  /** Approvals that one entry can carry. */
  approvalsMax: 8,
  /** An approval is used within a month, or asked for again. */
  approvalSecondsMax: 30 * 86_400,
  /** The published text of a revocation, in Unicode code points. */
  revocationTextCharactersMax: 500,
  /** Addresses at which one relay can be reached. */
  relayUrlsMax: 4,
  /** A signed note: sixteen post-quantum cosignatures of some 3 KB, as signed-note wants it, and a text. */
  noteBytesMax: 65_536,
  /** Signature lines of a note: the log's two, 32 witnesses, and others that a reader skips. */
  noteSignaturesMax: 64,
  /** A witness policy: 64 names (tlog-policy asks for 32 at least), each with a key, a URL and a remark. */
  policyNamesMax: 64,
  /** 64 such lines, each of 1 KB. */
  policyCharactersMax: 65_536,
  /** The text of a trust file: a policy, a root certificate, and some words. */
  trustFileCharactersMax: 73_728,
  /** One evidence file, which is read whole: a case of sixty messages as large as messages may be. */
  evidenceBytesMax: 64 * 1_048_576,
  /** Its sections: a message to all States' devices with every receipt for it. */
  evidenceSectionsMax: 16_384,
  /** Its entries of the log: a few PoCs of every State over some years. */
  evidenceEntriesMax: 4096,
  /** `state/role/agency` with a full DNS label, and room. */
  addressBytesMax: 128,
  /** A DNS name is no longer. */
  hostBytesMax: 255,
} as const

export const chosen = {
  /** Before login a stranger may hold so much of the relay, and so long. */
  strangerBytesMax: 4096,
  /** A satellite link takes two round trips for the login; ten seconds are plenty. */
  strangerSecondsMax: 10,
  /** Connections that have not logged in, at one time: of all, and of one address (an agency's devices behind one NAT). */
  strangersMax: 1024,
  /** An agency whose devices all come back at once behind one NAT. */
  strangersPerAddressMax: 64,
  /** Each costs the relay a signature and two key operations: an agency's devices reconnect at once, a flood does not. */
  loginsPerAddressPerMinute: 300,
  /** One WebSocket message: the largest envelope, its frame, and room to grow. */
  frameBytesMax: 72 * 1024,
  /** Pieces of one message that wait to be joined: a proxy may cut it up, a stranger may not make the relay hold crumbs. */
  messageFragmentsMax: 64,
  /** The same for the chunks in which a fragment arrives. */
  messageChunksMax: 1024,
  /** Envelopes that one mailbox holds: two weeks of a busy exercise. */
  mailboxEnvelopesMax: 10_000,
  /** 10,000 of the smallest class and some large ones. */
  mailboxBytesMax: 256 * 1024 * 1024,
  /** Unread output per connection before a slow reader is cut; above a quarter of it no delivery is added. */
  unreadBytesMax: 4 * 1024 * 1024,
  /** A peer that is silent gets a ping after so long, and is cut after twice that. */
  keepAliveSeconds: 30,
  /** Submissions under way per connection (credits): covers a 250 ms round trip at 1,000 envelopes a second. */
  credits: 256,
  /** Other requests under way per connection. */
  requestsInFlightMax: 256,
  /** Envelopes that are being stored, of all connections: more than a second of the fastest store's work. */
  storingBytesMax: 128 * 1024 * 1024,
  /** Receipts in one frame: with the longest path 35 KB. */
  receiptsPerFrame: 64,
  /** Envelopes on their way to a device, not yet collected. */
  deliveriesInFlightMax: 128,
  /** Fifteen of the largest envelopes: what a slow link must hold in memory twice. */
  deliveryBytesInFlightMax: 1024 * 1024,
  /** Prekey fetches of one PoC an hour: 193 States × 4 devices twice over; more is a drain. */
  prekeyFetchesPerHour: 2000,
  /** Submissions of one PoC a minute; all PoCs have the same. */
  submissionsPerMinute: 6000,
  /** Requests about prekeys and log of one PoC a minute: a device's whole first synchronisation is some hundreds. */
  requestsPerMinute: 6000,
  /** An answer stays below the largest frame with certificates of usual size; a relay cuts it earlier if not. */
  logEntriesPerAnswer: 256,
  /** How often a relay looks for new log entries: so late, at most, it learns of a revocation. */
  mirrorEverySeconds: 15,
  /** It looks sooner if a device that it does not know logs in, but not sooner than this after the last look: strangers can. */
  mirrorSoonestSeconds: 2,
  /** How long a relay that goes away waits for what is under way. */
  drainSecondsMax: 10,
  /** What it asks the devices to wait before they come back. */
  drainRetrySeconds: 5,
  /** The log dates its checkpoint anew so often: readers see a frozen one long before the 72 hours are over. */
  checkpointEverySeconds: 3600,
} as const

/** The relay's own choices; a test or an operator may choose others. */
export type Chosen = { readonly [K in keyof typeof chosen]: number }
