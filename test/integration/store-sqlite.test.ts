import { openSqliteStore } from "../../relay/store-sqlite.ts"
import { mailboxStoreContract } from "../contract/mailbox-store.ts"

mailboxStoreContract("SQLite", (folder, quota) => openSqliteStore(folder, quota && { quota }))
