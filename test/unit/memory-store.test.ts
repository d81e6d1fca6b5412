import { MemoryDisk } from "../../relay/testing/memory-store.ts"
import { mailboxStoreContract } from "../contract/mailbox-store.ts"

const disks = new Map<string, MemoryDisk>()
mailboxStoreContract("memory", async (folder, quota) => {
  const disk = disks.get(folder) ?? new MemoryDisk()
  disks.set(folder, disk)
  return disk.open(quota)
})
