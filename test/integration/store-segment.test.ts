import { openSegmentStore } from "../../relay/store-segment.ts"
import { mailboxStoreContract } from "../contract/mailbox-store.ts"

mailboxStoreContract("segment files", (folder, quota) => openSegmentStore(folder, quota && { quota }))
