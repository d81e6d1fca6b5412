/** Ed25519 keys at the edge, and a signature that libsodium accepts for a key of mixed order. */
import { createHash } from "node:crypto"
import { ed25519 } from "@noble/curves/ed25519.js"
import { concat, fromHex, hex } from "../../protocol/bytes.ts"

/** The eight points of small order, canonical, and the encodings of them that are not. */
export const smallOrderKeys: readonly Uint8Array[] = [
  "0100000000000000000000000000000000000000000000000000000000000000", // the identity
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // order 2
  "0000000000000000000000000000000000000000000000000000000000000000", // order 4
  "0000000000000000000000000000000000000000000000000000000000000080",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", // order 8
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
].map(fromHex)

/** y ≥ p, or a zero x with its sign bit set. */
export const nonCanonicalKeys: readonly Uint8Array[] = [
  "0100000000000000000000000000000000000000000000000000000000000080",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // y = p
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // y = p + 1
  "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // y = p + 3, of mixed order
  "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
].map(fromHex)

/** A key whose holder can sign, but that has a part of order 8. */
export function mixedOrderKey(seed: Uint8Array): { publicKey: Uint8Array; sign: (message: Uint8Array) => Uint8Array } {
  const { scalar } = ed25519.utils.getExtendedPublicKey(seed)
  const torsion = ed25519.Point.fromBytes(smallOrderKeys[4]!)
  const publicKey = ed25519.Point.BASE.multiply(scalar).add(torsion).toBytes()
  return { publicKey, sign: (message) => signMixed(scalar, publicKey, message) }
}

/** The part of order 8 vanishes from the equation whenever the challenge is a multiple of 8: one nonce in eight. */
function signMixed(scalar: bigint, publicKey: Uint8Array, message: Uint8Array): Uint8Array {
  const { Fn } = ed25519.Point
  for (let nonce = 1n; ; nonce++) {
    const commitment = ed25519.Point.BASE.multiply(nonce).toBytes()
    const challenge = Fn.create(
      littleEndian(
        createHash("sha512")
          .update(concat(commitment, publicKey, message))
          .digest(),
      ),
    )
    if (challenge % 8n === 0n) return concat(commitment, Fn.toBytes(Fn.add(nonce, Fn.mul(challenge, scalar))))
  }
}

const littleEndian = (bytes: Uint8Array): bigint => BigInt(`0x${hex(bytes.toReversed())}`)
