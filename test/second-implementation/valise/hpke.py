"""X-Wing, and HPKE with its one-stage key derivation (SPEC "Primitives")."""
import hashlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from . import mlkem
from .encoding import Refusal, sha3, u16


def x25519_public(secret):
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def x25519(secret, peer):
    try:
        return X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(peer))
    except ValueError:  # a point of low order
        raise Refusal("ERR_UNTRUSTED", detail="X25519 gives zero") from None


# --- X-Wing (draft-connolly-cfrg-xwing-kem) ---------------------------------------------------------------------------


def _expand(seed):
    wide = hashlib.shake_256(seed).digest(96)
    ek, secret = mlkem.key_pair(wide[:32], wide[32:64])
    return ek, secret, wide[64:]


def _combine(ss_m, ss_x, ct_x, pk_x):
    return sha3(ss_m + ss_x + ct_x + pk_x + b"\\.//^\\")


def public_key(seed):
    ek, _, x = _expand(seed)
    return ek + x25519_public(x)


def is_public_key(pk):
    return len(pk) == 1216 and mlkem.is_reduced(pk[:1184])


def encapsulate(pk, coins):
    if not is_public_key(pk):
        raise Refusal("ERR_UNTRUSTED", detail="not an X-Wing public key")
    ct_m, ss_m = mlkem.encapsulate(pk[:1184], coins[:32])
    ct_x, ss_x = x25519_public(coins[32:]), x25519(coins[32:], pk[1184:])
    return ct_m + ct_x, _combine(ss_m, ss_x, ct_x, pk[1184:])


def decapsulate(seed, ct):
    _, secret, x = _expand(seed)
    return _combine(mlkem.decapsulate(secret, ct[:1088]), x25519(x, ct[1088:]), ct[1088:], x25519_public(x))


# --- HPKE -------------------------------------------------------------------------------------------------------------

SUITE = b"HPKE" + u16(0x647A) + u16(0x0011) + u16(0x0003)


def _lp(data):
    return u16(len(data)) + data


def _derive(ikm, label, context, length):
    return hashlib.shake_256(ikm + b"HPKE-v1" + SUITE + _lp(label) + u16(length) + context).digest(length)


class Context:
    def __init__(self, shared, info):
        secret = _derive(_lp(b"") + _lp(shared), b"secret", b"\x00" + _lp(b"") + _lp(info), 108)
        self._aead, self._nonce, self._exporter = ChaCha20Poly1305(secret[:32]), secret[32:44], secret[44:]

    def seal(self, aad, plaintext):
        return self._aead.encrypt(self._nonce, plaintext, aad)

    def open(self, aad, ciphertext):
        """The plaintext, or None."""
        try:
            return self._aead.decrypt(self._nonce, ciphertext, aad)
        except InvalidTag:
            return None

    def export(self, label, length):
        return _derive(self._exporter, b"sec", label, length)
