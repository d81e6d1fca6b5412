/** The stores on disk, by the names that tests and their children know them by. */
import { openSegmentStore } from "../../relay/store-segment.ts"
import { openSqliteStore } from "../../relay/store-sqlite.ts"

export const stores = { SQLite: openSqliteStore, segments: openSegmentStore }
export type StoreName = keyof typeof stores
export const storeNames = Object.keys(stores) as StoreName[]
