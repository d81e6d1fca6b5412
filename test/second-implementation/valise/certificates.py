"""X.509 in the one profile of SPEC "Certificates": a reader of DER, and the checklist in its order."""
import re
import unicodedata
from datetime import datetime, timezone

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from . import signing
from .encoding import Refusal, sha3, tagged_hash

DAY = 86_400
LONGEST = {"root": 20 * 366 * DAY, "ca": 5 * 366 * DAY, "leaf": 397 * DAY}
USES = {"poc": 1, "relay": 2, "log": 3, "secretariat": 4}
ARC = 304093423942553933377347582718208600332


def bad(reason):
    return Refusal("ERR_UNTRUSTED", "certificate:" + reason)


# --- DER --------------------------------------------------------------------------------------------------------------


def tlv(tag, *parts):
    body = b"".join(parts)
    n = len(body)
    length = bytes([n]) if n < 128 else b"\x81" + bytes([n]) if n < 256 else b"\x82" + n.to_bytes(2, "big")
    return bytes([tag]) + length + body


def oid(dotted):
    first, second, *rest = (int(part) for part in dotted.split("."))
    out = b""
    for n in [40 * first + second, *rest]:
        digits = [n & 127]
        while n := n >> 7:
            digits.insert(0, n & 127 | 128)
        out += bytes(digits)
    return tlv(0x06, out)


class Der:
    """Reads DER elements one after the other."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def peek(self):
        return self.data[self.at] if self.at < len(self.data) else None

    def element(self, tag):
        """(contents, whole element)"""
        start, data = self.at, self.data
        if self.peek() != tag or len(data) < start + 2:
            raise bad("der")
        n, at = data[start + 1], start + 2
        if n >= 128:
            size = n - 128
            if size not in (1, 2) or len(data) < at + size:
                raise bad("der")
            n = int.from_bytes(data[at : at + size], "big")
            if n < (128 if size == 1 else 256):
                raise bad("der")
            at += size
        if len(data) < at + n:
            raise bad("der")
        self.at = at + n
        return data[at : self.at], data[start : self.at]

    def whole(self):
        """The next element as it stands, whatever it is."""
        return self.element(self.peek())[1]

    def read(self, tag):
        return self.element(tag)[0]

    def inside(self, tag):
        return Der(self.read(tag))

    def end(self):
        if self.at != len(self.data):
            raise bad("der")

    def bits(self):
        data = self.read(0x03)
        if not data or data[0] != 0:
            raise bad("der")
        return data[1:]

    def integer(self):
        data = self.read(0x02)
        if not data or data == b"\0" or data[0] & 128 or (len(data) > 1 and data[0] == 0 and not data[1] & 128):
            raise bad("der")
        return data


# --- The parts of a certificate ---------------------------------------------------------------------------------------

ECDSA = tlv(0x30, oid("1.2.840.10045.4.3.3"))
P384 = tlv(0x30, oid("1.2.840.10045.2.1"), oid("1.3.132.0.34"))
ED25519 = tlv(0x30, oid("1.3.101.112"))
BASIC, USAGE, NAMES, EXTENDED = oid("2.5.29.19"), oid("2.5.29.15"), oid("2.5.29.30"), oid("2.5.29.37")
ALTERNATIVE, SUBJECT_ID, AUTHORITY_ID = oid("2.5.29.17"), oid("2.5.29.14"), oid("2.5.29.35")
EXTENSIONS = {
    "root": [BASIC, USAGE, SUBJECT_ID],
    "ca": [BASIC, USAGE, NAMES, SUBJECT_ID, AUTHORITY_ID],
    "leaf": [BASIC, USAGE, EXTENDED, ALTERNATIVE, SUBJECT_ID, AUTHORITY_ID],
}
CRITICAL = {BASIC, USAGE, NAMES, EXTENDED}
REASONS = {
    BASIC: "basic-constraints", USAGE: "key-usage", NAMES: "name-constraints", EXTENDED: "extended-key-usage",
    ALTERNATIVE: "subject-alternative-name", SUBJECT_ID: "subject-key-id", AUTHORITY_ID: "authority-key-id",
}  # fmt: skip
ATTRIBUTES = {"C": oid("2.5.4.6"), "O": oid("2.5.4.10"), "OU": oid("2.5.4.11"), "CN": oid("2.5.4.3")}


def name(*attributes):
    """A name of (attribute, text) in that order, as DER."""
    return tlv(
        0x30,
        *(
            tlv(0x31, tlv(0x30, ATTRIBUTES[key], tlv(0x13 if key == "C" else 0x0C, value.encode())))
            for key, value in attributes
        ),
    )


def _read_subject(der):
    """(whole name, its organisations)"""
    contents, whole = der.element(0x30)
    names, found = Der(contents), []
    while names.peek() is not None:
        part = names.inside(0x31)
        pair = part.inside(0x30)
        part.end()
        _, key = pair.element(0x06)
        tag = pair.peek()
        data = pair.read(tag)
        pair.end()
        if key == ATTRIBUTES["O"]:
            found.append(_read_text(tag, data))
    return whole, found


def _read_text(tag, data):
    if tag not in (0x0C, 0x13):
        raise bad("der")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise bad("der") from None


def _read_signature(bits):
    """Two positive integers of at most 48 bytes; judged as a whole later."""
    outer = Der(bits)
    pair = outer.inside(0x30)
    outer.end()
    for _ in "rs":
        if len(pair.integer().lstrip(b"\0")) > 48:
            raise bad("der")
    pair.end()
    return bits


def _read_time(der):
    tag = der.peek()
    if tag not in (0x17, 0x18):
        raise bad("der")
    data = der.read(tag).decode("latin-1")
    if not re.fullmatch("[0-9]{12}Z" if tag == 0x17 else "[0-9]{14}Z", data):
        raise bad("der")
    if tag == 0x17:
        data = ("20" if data < "50" else "19") + data
    try:
        moment = datetime.strptime(data, "%Y%m%d%H%M%SZ").replace(tzinfo=timezone.utc)
    except ValueError:
        raise bad("der") from None
    if tag == 0x18 and moment.year < 2050:
        raise bad("der")
    return int(moment.timestamp())


class Certificate:
    def __init__(self, data):
        self.der, self.hash = data, tagged_hash("statement", data)
        outer = Der(data)
        whole = outer.inside(0x30)
        outer.end()
        inner, self.signed = whole.element(0x30)
        self.algorithm_outside = whole.whole()
        self.signature = _read_signature(whole.bits())
        whole.end()
        tbs = Der(inner)
        self.version = 0
        if tbs.peek() == 0xA0:
            version = tbs.inside(0xA0)
            self.version = int.from_bytes(version.integer(), "big")
            version.end()
        self.serial = tbs.integer()
        self.algorithm_inside = tbs.whole()
        self.issuer = tbs.whole()
        validity = tbs.inside(0x30)
        self.not_before, self.not_after = _read_time(validity), _read_time(validity)
        validity.end()
        self.subject, self.organisations = _read_subject(tbs)
        info = tbs.inside(0x30)
        self.key_algorithm = info.whole()
        self.key = info.bits()
        info.end()
        self.extensions = []
        if tbs.peek() == 0xA3:
            outer = tbs.inside(0xA3)
            listed = outer.inside(0x30)
            outer.end()
            while listed.peek() is not None:
                self.extensions.append(self._extension(listed.inside(0x30)))
        tbs.end()

    @staticmethod
    def _extension(der):
        _, id = der.element(0x06)
        critical = der.peek() == 0x01
        if critical and der.read(0x01) != b"\xff":
            raise bad("der")
        value = der.read(0x04)
        der.end()
        return id, critical, value

    @property
    def organisation(self):
        return self.organisations[0] if len(self.organisations) == 1 else None

    @property
    def key_id(self):
        return sha3(self.key)[:20]


# --- Who a leaf may be ------------------------------------------------------------------------------------------------


def is_organisation(value):
    """One line of 1 to 64 visible characters."""
    return value is not None and is_line(value, 64)


def is_line(value, most):
    if not 1 <= len(value) <= most or any(unicodedata.category(end) == "Zs" for end in (value[0], value[-1])):
        return False
    return all(
        c in "\u200c\u200d" or unicodedata.category(c) not in ("Cc", "Cf", "Co", "Cs", "Zl", "Zp") for c in value
    )


class Subject:
    """The use, name and URI that a leaf must have."""

    def __init__(self, realm, use, subject=None):
        self.use = use
        if use in ("poc", "secretariat"):
            state, role, agency = subject.split("/")
            middle = f"{role}.{state}" if use == "poc" else "secretariat.un"
            self.uri = f"poc://{agency}.{middle}.{realm.origin}/"
            self.country, self.common_name = (state.upper() if use == "poc" else None), agency
        elif use == "relay":
            host, colon, port = subject.partition(":")
            self.uri = f"relay://{host}.relay.{realm.origin}{colon}{port}/"
            self.country, self.common_name = None, subject
        else:
            self.uri, self.country, self.common_name = f"log://log.{realm.origin}/", None, "log"

    def name(self, organisation):
        country = [("C", self.country)] if self.country else []
        return name(*country, ("O", organisation), ("CN", self.common_name))

    @property
    def member_label(self):
        return "subject" if self.use in ("relay", "log") else "poc"


# --- The checklist ----------------------------------------------------------------------------------------------------


def check_root(realm, data):
    certificate = Certificate(data)
    expected = name(("O", realm.origin), ("OU", realm.mode), ("CN", "Valise root"))
    _check(realm, certificate, "root", None, expected, certificate.subject == certificate.issuer, None, None)
    return certificate


def check_ca(realm, data, root, now):
    certificate = Certificate(data)
    expected = name(("O", realm.origin), ("OU", realm.mode), ("CN", "Valise issuing CA"))
    _check(realm, certificate, "ca", root, root.subject, certificate.subject == expected, None, now)
    return certificate


def check_leaf(realm, data, ca, subject, now):
    certificate = Certificate(data)
    organisation = certificate.organisation
    fits = is_organisation(organisation) and certificate.subject == subject.name(organisation)
    _check(realm, certificate, "leaf", ca, ca.subject, fits, subject, now)
    return certificate


def _check(realm, it, level, issuer, issuer_name, subject_fits, subject, now):
    def require(holds, reason):
        if not holds:
            raise bad(reason)

    above = issuer or it
    require(it.version == 2, "version")
    require(len(it.serial) == 16 and 0x40 <= it.serial[0] <= 0x7F, "serial")
    require(it.algorithm_inside == ECDSA and it.algorithm_outside == ECDSA, "signature-algorithm")
    require(it.issuer == issuer_name, "issuer")
    require(subject_fits, "subject")
    require(0 <= it.not_after - it.not_before <= LONGEST[level], "lifetime")
    require(above.not_before <= it.not_before and it.not_after <= above.not_after, "outlives-issuer")
    if now is not None:
        require(it.not_before <= now, "not-yet-valid")
        require(now <= it.not_after, "expired")
    require(it.key_algorithm == (ED25519 if level == "leaf" else P384), "key-algorithm")
    require(signing.is_sound_key(it.key) if level == "leaf" else _point(it.key) is not None, "public-key")
    values = {id: value for id, _, value in it.extensions}
    if level == "leaf":
        require(_within(realm, values.get(ALTERNATIVE)), "outside-name-constraints")
    ids = [id for id, _, _ in it.extensions]
    require(all(id in EXTENSIONS[level] for id in ids), "unknown-extension")
    require(len(set(ids)) == len(ids), "duplicate-extension")
    require(all(critical == (id in CRITICAL) for id, critical, _ in it.extensions), "critical-flag")
    for id, value in _expected(realm, it, level, above, subject).items():
        require(values.get(id) == value, REASONS[id])
    require(_signature_verifies(it, above), "signature")


def _expected(realm, it, level, issuer, subject):
    """What the extensions of a certificate hold, in the checklist's order."""
    usage = tlv(0x03, b"\x07\x80") if level == "leaf" else tlv(0x03, b"\x01\x06")
    is_ca = [] if level == "leaf" else [tlv(0x01, b"\xff"), tlv(0x02, b"\x01" if level == "root" else b"\x00")]
    expected = {BASIC: tlv(0x30, *is_ca), USAGE: usage}
    if level == "ca":
        expected[NAMES] = tlv(0x30, tlv(0xA0, tlv(0x30, tlv(0x86, b"." + realm.origin.encode()))))
    if level == "leaf":
        expected[EXTENDED] = tlv(0x30, oid(f"2.25.{ARC}.1.{USES[subject.use]}"))
        expected[ALTERNATIVE] = tlv(0x30, tlv(0x86, subject.uri.encode()))
    expected[SUBJECT_ID] = tlv(0x04, it.key_id)
    if level != "root":
        expected[AUTHORITY_ID] = tlv(0x30, tlv(0x80, issuer.key_id))
    return expected


def _within(realm, value):
    """One URI scheme://host[:port]/ whose host has one label or more before the origin."""
    try:
        outer = Der(value or b"")
        names = outer.inside(0x30)
        outer.end()
        uri = names.read(0x86).decode("ascii")
        names.end()
    except (Refusal, UnicodeDecodeError):
        return False
    match = re.fullmatch(r"[a-z][a-z0-9+.-]*://([a-z0-9.-]+)(:[0-9]{1,5})?/", uri)
    return bool(match) and re.fullmatch(r"([a-z0-9-]+\.)+" + re.escape(realm.origin), match[1]) is not None


def _point(data):
    if len(data) != 97 or data[0] != 4:
        return None
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), data)
    except ValueError:
        return None


def _signature_verifies(it, issuer):
    try:
        _point(issuer.key).verify(it.signature, it.signed, ec.ECDSA(hashes.SHA384()))
        return True
    except InvalidSignature:
        return False
