/** The SDK's public door. Everything else in this folder is an inside that may change. */
export { openPoc, type OpenOptions } from "./open.ts"
export { ConsentHandle, Message } from "./message.ts"
export { Poc, type Contact, type Identity } from "./poc.ts"
export * from "./api.ts"
export { ValiseError, type ErrorCode } from "../protocol/errors.ts"
export type { PocAddress } from "../protocol/address.ts"
export { tlpLabels, type Tlp } from "../protocol/tlp.ts"
