"""Ed25519 as libsodium judges it, and signed statements (SPEC "Primitives", "Statements")."""
from nacl import bindings, exceptions

from .encoding import Refusal, encode, tagged_hash

LABELS = {
    "prekey", "header", "release", "login-relay", "login-device", "device-receipt", "officer-receipt", "relay-receipt",
    "consent", "attest", "manifest", "member", "entry", "revocation", "approval",
}  # fmt: skip


class Realm:
    def __init__(self, origin, mode):
        self.origin, self.mode = origin, mode

    def __eq__(self, other):
        return (self.origin, self.mode) == (other.origin, other.mode)


def public_key(seed):
    return bindings.crypto_sign_seed_keypair(seed)[0]


def sign(seed, message):
    return bindings.crypto_sign(message, bindings.crypto_sign_seed_keypair(seed)[1])[:64]


def verifies(key, message, signature):
    try:
        bindings.crypto_sign_open(signature + message, key)  # the same judgement as crypto_sign_verify_detached
        return True
    except exceptions.BadSignatureError:
        return False


def is_sound_key(key):
    """Canonical and of prime order (SPEC "Keys that are refused")."""
    return len(key) == 32 and bindings.crypto_core_ed25519_is_valid_point(key)


def statement(realm, label, data):
    assert label in LABELS
    return b"\0".join([b"valise/v1", realm.origin.encode(), realm.mode.encode(), label.encode(), data])


def sign_statement(realm, label, data, seed):
    return sign(seed, statement(realm, label, data))


def statement_verifies(realm, label, data, key, signature):
    return verifies(key, statement(realm, label, data), signature)


def check_statement(realm, label, data, key, signature):
    if not statement_verifies(realm, label, data, key, signature):
        raise Refusal("ERR_UNTRUSTED", "signature", label)


def member_of(realm, poc, key, signature):
    """Does the key itself say that it is listed for this PoC?"""
    return statement_verifies(realm, "member", encode({"v": 1, "poc": poc, "key": key}), key, signature)


def device_id(poc, key):
    return tagged_hash("device", poc, key)


def officer_id(poc, key):
    return tagged_hash("officer", poc, key)


def mailbox_id(device, relay):
    return tagged_hash("mailbox", device, relay)[:16]


def prekey_id(pk):
    return tagged_hash("prekey", pk)[:16]
