"""Deterministic CBOR, tagged hashes, and the checks of a structure's shape (SPEC "Encodings")."""
import hashlib
import re


class Refusal(Exception):
    """What this program refuses: a code of SPEC "Errors", and where SPEC has a list of reasons, one of them."""

    def __init__(self, code, reason="", detail=""):
        super().__init__(" ".join(part for part in (code, reason, detail) if part))
        self.code, self.reason, self.detail = code, reason, detail


def malformed(detail):
    return Refusal("ERR_MALFORMED", detail=detail)


def sha3(data):
    return hashlib.sha3_256(data).digest()


def u16(n):
    return n.to_bytes(2, "big")


def u32(n):
    return n.to_bytes(4, "big")


def u64(n):
    return n.to_bytes(8, "big")


def lp(data):
    return u32(len(data)) + data


def tagged_hash(label, *parts):
    parts = [part.encode() if isinstance(part, str) else part for part in ("valise/v1", label, *parts)]
    return sha3(b"".join(lp(part) for part in parts))


# --- CBOR -------------------------------------------------------------------------------------------------------------

LARGEST = 2**53 - 1


def encode(value):
    if value is True:
        return b"\xf5"
    if value is False:
        return b"\xf4"
    if value is None:
        return b"\xf6"
    if isinstance(value, int):
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if isinstance(value, bytes):
        return _head(2, len(value)) + value
    if isinstance(value, str):
        data = value.encode()
        return _head(3, len(data)) + data
    if isinstance(value, list):
        return _head(4, len(value)) + b"".join(encode(item) for item in value)
    if isinstance(value, dict):
        pairs = sorted((encode(key), encode(item)) for key, item in value.items())
        return _head(5, len(pairs)) + b"".join(key + item for key, item in pairs)
    raise TypeError(type(value))


def _head(major, n):
    for extra, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if n < 24:
            return bytes([major << 5 | n])
        if n < 1 << 8 * size:
            return bytes([major << 5 | extra]) + n.to_bytes(size, "big")
    raise ValueError(n)


def decode(data):
    """The value of which `data` is the one encoding."""
    try:
        value, end = _item(data, 0, 0)
    except IndexError:
        raise malformed("CBOR ends too early") from None
    if end != len(data):
        raise malformed("bytes after the CBOR")
    return value


def _item(data, at, depth):
    if depth > 16:
        raise malformed("CBOR is nested too deeply")
    major, info = data[at] >> 5, data[at] & 31
    at += 1
    if major == 7:
        if info in (20, 21, 22):
            return {20: False, 21: True, 22: None}[info], at
        raise malformed("CBOR simple value or float")
    if info < 24:
        n = info
    elif info <= 27:
        size = 1 << (info - 24)
        n = int.from_bytes(_take(data, at, size), "big")
        at += size
        if n < (24, 1 << 8, 1 << 16, 1 << 32)[info - 24]:
            raise malformed("CBOR number not in its shortest form")
    else:
        raise malformed("CBOR of indefinite length")
    if major == 0 or major == 1:
        if n > LARGEST - major:
            raise malformed("CBOR integer of more than 53 bits")
        return (n if major == 0 else -1 - n), at
    if major == 2:
        return _take(data, at, n), at + n
    if major == 3:
        try:
            return _take(data, at, n).decode("utf-8"), at + n
        except UnicodeDecodeError:
            raise malformed("CBOR text is not UTF-8") from None
    if major == 4:
        items = []
        for _ in range(n):
            item, at = _item(data, at, depth + 1)
            items.append(item)
        return items, at
    if major == 5:
        found, before = {}, b""
        for _ in range(n):
            start = at
            key, at = _item(data, at, depth + 1)
            if not isinstance(key, str):
                raise malformed("CBOR map key that is not text")
            if data[start:at] <= before:
                raise malformed("CBOR map keys out of order")
            before = data[start:at]
            found[key], at = _item(data, at, depth + 1)
        return found, at
    raise malformed("CBOR tag")


def _take(data, at, n):
    if at + n > len(data):
        raise malformed("CBOR ends too early")
    return data[at : at + n]


# --- Shapes: a shape is a function that raises a Refusal --------------------------------------------------------------


def integer(low, high):
    def check(value):
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise malformed(f"not an integer from {low} to {high}")

    return check


def bytes_of(length=None, most=None):
    def check(value):
        if not isinstance(value, bytes) or (length is not None and len(value) != length):
            raise malformed(f"not {length} bytes")
        if most is not None and len(value) > most:
            raise malformed("too many bytes")

    return check


def text(pattern=None, most=None, one_of=None, least=0):
    def check(value):
        if not isinstance(value, str):
            raise malformed("not text")
        if pattern is not None and not re.fullmatch(pattern, value):
            raise malformed("text of another form")
        if one_of is not None and value not in one_of:
            raise malformed("another word")
        if len(value) < least or (most is not None and len(value) > most):
            raise malformed("text too long or too short")

    return check


def array(of, least=0, most=None, distinct=False):
    def check(value):
        if not isinstance(value, list) or len(value) < least or (most is not None and len(value) > most):
            raise malformed("not an array of that length")
        for item in value:
            of(item)
        if distinct and len({encode(item) for item in value}) != len(value):
            raise malformed("twice in an array")

    return check


def mapping(fields, optional=None, closed=True):
    def check(value):
        if not isinstance(value, dict):
            raise malformed("not a map")
        for name, shape in fields.items():
            if name not in value:
                raise malformed(f"{name} is missing")
            _named(name, shape, value[name])
        for name, shape in (optional or {}).items():
            if name in value:
                _named(name, shape, value[name])
        if closed and set(value) - set(fields) - set(optional or {}):
            raise malformed("unknown fields")

    return check


def _named(name, shape, value):
    try:
        shape(value)
    except Refusal as refusal:
        raise Refusal(refusal.code, refusal.reason, f"{name}: {refusal.detail}") from None


def boolean(value):
    if not isinstance(value, bool):
        raise malformed("not true or false")


def either(*shapes):
    def check(value):
        for shape in shapes:
            try:
                return shape(value)
            except Refusal as refusal:
                last = refusal
        raise last

    return check


def null(value):
    if value is not None:
        raise malformed("not null")


CRIT = array(text(most=64), most=16)
ONE = integer(1, 1)
HASH = bytes_of(32)
SECONDS = integer(0, 2**40)
COUNTER = integer(0, 2**48)
MODE = text(one_of=("live", "exercise"))
SIGNATURE = bytes_of(64)
SIGNED = mapping({"bytes": bytes_of(), "signature": SIGNATURE})
HOST = text(r"[\x21-\x7e]{1,255}")
KIND = text(one_of=("one-time", "rotating"))


def address(value):
    text(r"[a-z]{2}/[a-z][a-z0-9-]{0,30}/[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")(value)
    if len(value) > 128:
        raise malformed("address too long")


def open_structure(data, fields, optional=None, suite=False):
    """Decodes a structure that can grow (SPEC "Growth")."""
    value = decode(data)
    if not isinstance(value, dict):
        raise malformed("not a map")
    for name in ("v", "suite") if suite else ("v",):
        integer(-LARGEST, LARGEST)(value.get(name))
        if value[name] != 1:
            raise Refusal("ERR_VERSION", detail=f"{name} is {value[name]}")
    known = {"v": ONE, **({"suite": ONE} if suite else {}), **fields}
    optional = {**(optional or {}), "crit": CRIT}
    mapping(known, optional, closed=False)(value)
    if set(value.get("crit", [])) - set(known) - set(optional):
        raise Refusal("ERR_VERSION", detail="an unknown field is critical")
    return value
