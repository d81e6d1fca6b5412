"""Opening an envelope (SPEC "Sealing"): from the bytes that a relay delivers to leaves that are known to be the sender's."""
import hmac
import zlib

from . import hpke, signing, tree
from .encoding import (
    HASH, KIND, MODE, SECONDS, SIGNATURE, SIGNED, COUNTER, ONE, Refusal, address, array, boolean, bytes_of, decode,
    integer, mapping, open_structure, sha3, tagged_hash, text, u32,
)  # fmt: skip

SKEW = 600
LIFETIME = 1_209_600
CONTENT_MOST = 1_048_576
UNDEFLATED = {"receipt", "attachments"}
NAME = text(r"[a-z][A-Za-z0-9]{0,63}")

HEADER = {
    "mode": MODE,
    "messageId": bytes_of(16),
    "sender": mapping({"poc": address, "device": HASH}, {"officer": HASH}),
    "recipientsRoot": HASH,
    "recipientsCount": integer(1, 4096),
    "created": SECONDS,
    "expires": SECONDS,
    "checkpoint": HASH,
}
ENTRY = mapping(
    {
        "poc": address,
        "device": HASH,
        "prekeyId": bytes_of(16),
        "kind": KIND,
        "pairSequence": mapping({"incarnation": bytes_of(16), "n": COUNTER}),
        "enc": HASH,
    }
)
PAYLOAD = mapping(
    {
        "header": SIGNED,
        "checkpoint": bytes_of(),
        "entry": bytes_of(),
        "index": integer(0, 4095),
        "path": array(HASH, most=12),
        "contentKey": HASH,
        "leaves": array(mapping({"name": text(), "deflated": boolean, "value": bytes_of()}), most=64),
    },
    {"release": SIGNATURE},
)


def fail(reason, detail=""):
    return Refusal("", reason, detail)


def padded_length(length):
    """P(L), or None above the largest."""
    if length <= 4096:
        return 4096
    exponent = length.bit_length() - 1
    step = 1 << (exponent - exponent.bit_length())
    padded = -(-length // step) * step
    return padded if padded <= 65536 else None


def padded_lengths():
    found, length = [], 0
    while (padded := padded_length(length + 1)) is not None:
        found.append(padded)
        length = padded
    return found


def pad(payload):
    return (u32(len(payload)) + payload).ljust(padded_length(4 + len(payload)), b"\0")


def unpad(padded):
    length = int.from_bytes(padded[:4], "big")
    if padded_length(4 + length) != len(padded) or any(padded[4 + length :]):
        raise fail("padding")
    return padded[4 : 4 + length]


def info(realm, device, prekey_id, kind):
    return tagged_hash("info", b"\x01", realm.mode, realm.origin, device, prekey_id, kind)


def parse_header(data):
    return open_structure(data, HEADER, suite=True)


def parse_entry(data):
    entry = decode(data)
    ENTRY(entry)
    return entry


def header_hash(data):
    return tagged_hash("header", data)


def salt(content_key, name):
    return tagged_hash("salt", content_key, name)


def leaf_hash(leaf_salt, name, value):
    return tagged_hash("leaf", leaf_salt, name, value)


def content_hash(header, content_key, leaves):
    """C, of leaves as (name, value)."""
    hashes = [leaf_hash(salt(content_key, name), name, value) for name, value in leaves]
    return tagged_hash("content", header_hash(header), *hashes)


def check_leaves(leaves):
    """Names, number and length of leaves as (name, value)."""
    if not 1 <= len(leaves) <= 64 or len({name for name, _ in leaves}) != len(leaves):
        raise fail("leaves")
    for name, _ in leaves:
        try:
            NAME(name)
        except Refusal:
            raise fail("leaves", name) from None
    if sum(len(value) for _, value in leaves) > CONTENT_MOST:
        raise fail("leaves", "too long")


def inflate_leaves(leaves):
    left, found = CONTENT_MOST, []
    for leaf in leaves:
        value = leaf["value"]
        if leaf["deflated"]:
            if leaf["name"] in UNDEFLATED:
                raise fail("leaves", "deflated though it must not be")
            value = _inflate(value, left)
        left -= len(value)
        found.append((leaf["name"], value))
    check_leaves(found)
    return found


def _inflate(stream, most):
    inflater = zlib.decompressobj(wbits=-15)
    try:
        value = inflater.decompress(stream, most + 1)
    except zlib.error:
        raise fail("leaves", "not a deflate stream") from None
    if not inflater.eof or inflater.unused_data or len(value) > most or len(stream) >= len(value):
        raise fail("leaves", "a stream of another form")
    return value


class Prekey:
    """A secret that this device holds, with what it recorded with it."""

    def __init__(self, seed, kind):
        self.seed, self.kind = seed, kind
        self.id = signing.prekey_id(hpke.public_key(seed))


class Opened:
    def __init__(self, **fields):
        self.__dict__.update(fields)


def open_envelope(envelope, realm, poc, device, prekeys, judge, now):
    """Checks 1 to 18. `judge(header, note)` makes check 11 and returns the keys (device, officer or None) and banners."""
    if len(envelope) - 1202 not in padded_lengths():
        raise fail("size")
    if envelope[:2] != b"\x01\x01":
        raise fail("version")
    prekey = next((key for key in prekeys if key.id == envelope[18:34]), None)
    if prekey is None:
        raise fail("prekey")
    encapsulation, aad = envelope[66:1186], envelope[:1186]
    try:
        shared = hpke.decapsulate(prekey.seed, encapsulation)
    except Refusal:
        raise fail("commitment", "a point of low order") from None
    context = hpke.Context(shared, info(realm, device, prekey.id, prekey.kind))
    if not hmac.compare_digest(context.export(b"commit", 32), envelope[34:66]):
        raise fail("commitment")
    padded = context.open(aad, envelope[1186:])
    if padded is None:
        raise fail("aead")
    try:
        payload = decode(unpad(padded))
        PAYLOAD(payload)
        header = parse_header(payload["header"]["bytes"])
    except Refusal as refusal:
        raise fail(refusal.reason or ("version" if refusal.code == "ERR_VERSION" else "payload"), refusal.detail) from None
    data, signature = payload["header"]["bytes"], payload["header"]["signature"]
    if header["mode"] != realm.mode:
        raise fail("mode")
    if tagged_hash("statement", payload["checkpoint"]) != header["checkpoint"]:
        raise fail("checkpoint")
    device_key, officer_key, banners = judge(header, payload["checkpoint"])
    check_signatures(realm, header, data, signature, payload.get("release"), device_key, officer_key)
    try:
        entry = parse_entry(payload["entry"])
    except Refusal as refusal:
        raise fail("payload", refusal.detail) from None
    mine = {"poc": poc, "device": device, "prekeyId": prekey.id, "kind": prekey.kind, "enc": tagged_hash("enc", encapsulation)}
    if any(entry[name] != value for name, value in mine.items()):
        raise fail("entry")
    check_place(header, payload["entry"], payload["index"], payload["path"], "entry")
    leaves = inflate_leaves(payload["leaves"])
    if not 0 < header["expires"] - header["created"] <= LIFETIME:
        raise fail("lifetime")
    if header["created"] > now + SKEW:
        raise fail("created")
    if now > header["expires"]:
        raise fail("expired")
    return Opened(
        header=header, header_bytes=data, header_signature=signature, release=payload.get("release"), leaves=leaves,
        content_key=payload["contentKey"], content=content_hash(data, payload["contentKey"], leaves), entry=entry,
        digest=sha3(envelope), banners=banners, prekey=prekey,
    )  # fmt: skip


def check_signatures(realm, header, data, signature, release, device_key, officer_key):
    """Checks 12 and 13."""
    if not signing.statement_verifies(realm, "header", data, device_key, signature):
        raise fail("signature")
    if ("officer" in header["sender"]) != (release is not None) or (release is not None and officer_key is None):
        raise fail("release")
    if release is not None and not signing.statement_verifies(realm, "release", data, officer_key, release):
        raise fail("release")


def check_place(header, entry, index, path, reason):
    try:
        tree.check_inclusion(entry, index, header["recipientsCount"], path, header["recipientsRoot"])
    except Refusal as refusal:
        raise fail(reason, refusal.detail) from None


def check_prekey(realm, data, signature, key, device, now):
    """What a sender checks before it seals (SPEC "Prekeys"); gives the prekey's map."""
    signing.check_statement(realm, "prekey", data, key, signature)
    prekey = open_structure(
        data,
        {
            "device": HASH, "incarnation": bytes_of(16), "n": COUNTER, "kind": KIND, "id": bytes_of(16),
            "nbf": SECONDS, "exp": SECONDS, "pk": bytes_of(1216),
        },
        suite=True,
    )  # fmt: skip
    for holds, what in (
        (prekey["device"] == device, "device"),
        (prekey["id"] == signing.prekey_id(prekey["pk"]), "id"),
        (prekey["exp"] - prekey["nbf"] <= 1_296_000, "exp - nbf"),
        (now <= prekey["exp"], "exp"),
        (prekey["nbf"] <= now + SKEW, "nbf"),
        (hpke.is_public_key(prekey["pk"]), "pk"),
    ):
        if not holds:
            raise Refusal("ERR_UNTRUSTED", detail=what)
    return prekey
