/** The contract of the mailbox store without a thread, which mutation could not look into. */
import { openStoreHere } from "../support/shelf-here.ts"
import { mailboxStoreContract } from "../contract/mailbox-store.ts"

mailboxStoreContract("segments in one thread", (folder, quota) => openStoreHere(folder, quota && { quota }))
