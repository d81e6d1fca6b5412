"""Judging an evidence file, offline, with a trust file (SPEC "Evidence files")."""
import json
import re

from . import directory, envelope, receipts, signing, tree
from .encoding import (
    HASH, MODE, SECONDS, SIGNATURE, SIGNED, Refusal, address, array, bytes_of, decode, integer, malformed,
    mapping, tagged_hash, text,
)  # fmt: skip

SKEW = 600
ADDRESSES = array(address, least=1, most=1024)
INVOLVED = array(address, least=1, most=512, distinct=True)
REFERENCE = mapping({"message": text("[0-9a-f]{32}"), "content": text("[0-9a-f]{64}")})
MAGIC = b"valise-evidence\n"
TYPES = (b"notification", b"reply", b"response", b"forward")
NODES = array(HASH, most=63)
ABOUT = mapping(
    {
        "origin": text(), "mode": MODE, "case": bytes_of(16), "exporter": address, "time": SECONDS,
        "leftOut": integer(0, 2**53 - 1), "trust": text(), "checkpoint": bytes_of(most=65536),
    }
)  # fmt: skip
DIRECTORY = mapping(
    {"entries": array(mapping({"index": integer(0, 2**53 - 1), "bytes": bytes_of(), "proof": NODES}), most=4096)}
)
MESSAGE = {
    "direction": text(one_of=("sent", "received")),
    "header": SIGNED,
    "checkpoint": bytes_of(most=65536),
    "consistency": NODES,
    "contentKey": HASH,
    "leaves": array(mapping({"name": text(), "value": bytes_of()})),
}
OWN = {"entry": bytes_of(), "index": integer(0, 4095), "path": array(HASH, most=12)}
RECEIPT = mapping({"kind": text(one_of=("device-receipt", "officer-receipt")), "signed": SIGNED})
RELAY_RECEIPT = mapping(
    {
        "message": bytes_of(16), "poc": address, "device": HASH, "mailbox": bytes_of(16), "blind": HASH, "digest": HASH,
        "receipt": receipts.RELAY_RECEIPT,
    }
)  # fmt: skip
CONTENTS = mapping(
    {"sections": array(mapping({"name": text(), "length": integer(1, 2**48), "hash": HASH}), most=16384)}
)


def refuse(section, reason, detail=""):
    return Refusal("ERR_EVIDENCE", f"{section}: {reason}", detail)


class In:
    """Whatever is refused inside is refused in the name of that section, for that reason."""

    def __init__(self, section, reason):
        self.section, self.reason = section, reason

    def __enter__(self):
        return self

    def __exit__(self, type, error, trace):
        if isinstance(error, Refusal) and error.code != "ERR_EVIDENCE":
            reason = "version" if error.code == "ERR_VERSION" else self.reason
            raise refuse(self.section, reason, str(error)) from None


def require(holds, section, reason, detail=""):
    if not holds:
        raise refuse(section, reason, detail)


# --- Form -------------------------------------------------------------------------------------------------------------


def read_sections(data):
    """[(name, bytes)] of a file whose layout and hashes hold."""
    require(data[:16] == MAGIC, "contents", "not-evidence")
    require(len(data) <= 67_108_864, "contents", "too-large")
    require(len(data) >= 21, "contents", "truncated")
    require(data[16] == 1, "contents", "version")
    end = 21 + int.from_bytes(data[17:21], "big")
    require(len(data) >= end + 32, "contents", "truncated")
    require(data[end : end + 32] == tagged_hash("evidence", "contents", data[:end]), "contents", "altered")
    with In("contents", "malformed"):
        contents = decode(data[21:end])
        CONTENTS(contents)
    listed = contents["sections"]
    _check_names([it["name"] for it in listed])
    at, found = end + 32, []
    for it in listed:
        part = data[at : at + it["length"]]
        require(len(part) == it["length"], it["name"], "truncated")
        require(it["hash"] == tagged_hash("evidence", "section", it["name"], part), it["name"], "altered")
        found.append((it["name"], part))
        at += it["length"]
    require(len(data) >= at + 32, "end", "truncated")
    require(len(data) == at + 32, "end", "trailing")
    require(data[at:] == tagged_hash("evidence", "whole", data[:at]), "end", "altered")
    return found


def _check_names(names):
    groups = ("message", "receipt", "relay-receipt")
    counts = {group: sum(bool(re.fullmatch(group + "-[0-9]+", name)) for name in names) for group in groups}
    expected = ["about", "directory", *(f"{group}-{i + 1}" for group in groups for i in range(counts[group]))]
    form = f"about|directory|({'|'.join(groups)})-[1-9][0-9]{{0,4}}"
    require(all(re.fullmatch(form, name) for name in names) and "message-1" in names, "contents", "malformed", "names")
    require(names == expected, "contents", "order", "names")


def _shape(name):
    if name == "about":
        return ABOUT
    if name == "directory":
        return DIRECTORY
    return RELAY_RECEIPT if name.startswith("relay") else RECEIPT if name.startswith("receipt") else _message_shape


def _message_shape(value):
    sent = isinstance(value, dict) and value.get("direction") == "sent"
    mapping({**MESSAGE, **({} if sent else OWN)}, {"release": SIGNATURE})(value)


def _ascending(sections, key, reason="order"):
    before = None
    for name, value in sections:
        here = key(value)
        require(before is None or before < here, name, reason)
        before = here


def _content(leaves):
    """Leaves by name, if those that every message has are of their form."""
    envelope.check_leaves(leaves)
    found = dict(leaves)
    if found.get("type") not in TYPES or not re.fullmatch(b"[0-9a-f]{32}", found.get("case", b"")):
        raise malformed("type or case")
    for name, shape in (("to", ADDRESSES), ("involved", INVOLVED), ("inReplyTo", REFERENCE)):
        if name in found or name == "to":
            try:
                shape(json.loads(found.get(name, b"").decode()))
            except ValueError:
                raise malformed(name) from None
    return found


# --- Verification -----------------------------------------------------------------------------------------------------


class Message:
    def __init__(self, section, value):
        self.section, self.value = section, value
        with In(section, "malformed"):
            self.header = envelope.parse_header(value["header"]["bytes"])
        self.hash = envelope.header_hash(value["header"]["bytes"])
        self.id, self.sent = self.header["messageId"], value["direction"] == "sent"
        self.witnessed = []  # (PoC, time): the word of others


class Evidence:
    def __init__(self, data, trust=None, now=None):
        self.now = now
        sections = []
        for name, part in read_sections(data):
            with In(name, "malformed"):
                value = decode(part)
                _shape(name)(value)
            sections.append((name, value))
        by = lambda prefix: [(name, value) for name, value in sections if re.fullmatch(prefix + "-[0-9]+", name)]
        self.about = sections[0][1]
        self.anchored = trust is not None
        with In("about", "malformed"):
            if len(self.about["trust"].encode("utf-16-le")) // 2 > 73728:
                raise malformed("trust file too long")
            self.trust = trust or directory.Trust(self.about["trust"])
        self.realm = self.trust.realm
        self._check_about()
        self._check_directory(sections[1][1]["entries"])
        self.messages = [Message(name, value) for name, value in by("message")]
        _ascending([("contents", it) for it in self.messages], lambda it: (it.header["created"], it.id))
        ids = [it.id for it in self.messages]
        require(len(set(ids)) == len(ids), "contents", "order", "a message id twice")
        for message in self.messages:
            self._check_message(message)
        found = by("receipt")
        _ascending(found, lambda value: value["signed"]["bytes"])
        self.digests, self.receipts = {}, []
        for name, value in found:
            self._check_receipt(name, value)
        found = by("relay-receipt")
        _ascending(found, lambda value: value["blind"])
        self.relay_receipts = []
        for name, value in found:
            self._check_relay_receipt(name, value)
        for message in self.messages:
            self._check_signatures(message)

    def _not_future(self, time, section):
        require(self.now is None or time <= self.now + SKEW, section, "future")

    def _checkpoint(self, note, section):
        with In(section, "checkpoint"):
            return self.trust.checkpoint(note, self.now)

    def _check_about(self):
        realm = signing.Realm(self.about["origin"], self.about["mode"])
        require(realm == self.realm, "about", "realm")
        self.checkpoint = self._checkpoint(self.about["checkpoint"], "about")
        self._not_future(self.about["time"], "about")

    def _check_directory(self, entries):
        _ascending([("directory", it) for it in entries], lambda it: it["index"], "malformed")
        self.directory = directory.Directory(self.trust, partial=True)
        for it in entries:
            with In("directory", "inclusion"):
                tree.check_inclusion(
                    it["bytes"], it["index"], self.checkpoint.size, it["proof"], self.checkpoint.root, tree.sha256
                )
        for it in entries:
            reason = self.directory.add(it["bytes"], it["index"])
            require(reason is None, "directory", "entry", f"{it['index']}: {reason}")

    def _check_message(self, it):
        value, header, name = it.value, it.header, it.section
        require(header["mode"] == self.realm.mode, name, "realm")
        require(tagged_hash("statement", value["checkpoint"]) == header["checkpoint"], name, "checkpoint")
        it.cited = self._checkpoint(value["checkpoint"], name)
        with In(name, "history"):
            tree.check_consistency(
                it.cited.size, self.checkpoint.size, it.cited.root, self.checkpoint.root, value["consistency"]
            )
        leaves = [(leaf["name"], leaf["value"]) for leaf in value["leaves"]]
        with In(name, "content"):
            it.leaves = _content(leaves)
        require(it.leaves.get("case") == self.about["case"].hex().encode(), name, "case")
        require(0 < header["expires"] - header["created"] <= envelope.LIFETIME, name, "lifetime")
        self._not_future(header["created"], name)
        if it.sent:
            require(header["sender"]["poc"] == self.about["exporter"], name, "sender", "not the exporter")
        else:
            with In(name, "own-entry"):
                it.entry = envelope.parse_entry(value["entry"])
            require(it.entry["poc"] == self.about["exporter"], name, "own-entry")
            with In(name, "own-entry"):
                envelope.check_place(header, value["entry"], value["index"], value["path"], "own-entry")
        it.content = envelope.content_hash(value["header"]["bytes"], value["contentKey"], leaves)

    def _sent(self, id, section):
        message = next((it for it in self.messages if it.sent and it.id == id), None)
        require(message is not None, section, "unknown-message")
        return message

    def _check_receipt(self, name, value):
        kind, signed = value["kind"], value["signed"]
        what, right = ("device", "receive") if kind == "device-receipt" else ("officer", "acknowledge")
        outline = {"poc": address, what: HASH, "messageId": bytes_of(16), "time": SECONDS}
        with In(name, "malformed"):
            it = decode(signed["bytes"])
            mapping(outline, closed=False)(it)
        message = self._sent(it["messageId"], name)
        listed, certificate = self._signer(it["poc"], it[what], what, right, it["time"])
        require(listed is not None, name, "signer")
        try:
            it = receipts.check(self.realm, kind, signed["bytes"], signed["signature"], listed["key"])
        except Refusal as refusal:
            reason = {"ERR_UNTRUSTED": "signature", "ERR_VERSION": "version"}.get(refusal.code, "malformed")
            raise refuse(name, reason, refusal.detail) from None
        require(it["header"] == message.hash, name, "header")
        require(it["content"] == message.content, name, "content-hash")
        self._not_future(it["time"], name)
        poc = self.directory.pocs[it["poc"]]
        require(it[what] in self.directory.listings(poc), name, "revoked", "no longer known")
        require(self._stands(self.directory.listed_ends(poc, listed), it["time"], None), name, "revoked")
        require(self._had_not_ended(certificate, it["time"]), name, "revoked", "the PoC's key")
        message.witnessed.append((it["poc"], it["time"]))
        if what == "device":
            self.digests[it["device"], message.id] = it["digest"]
        self.receipts.append((kind, it))

    def _signer(self, at, id, what, right, time):
        """(device or officer as its PoC's manifest lists it, the PoC's certificate), in the directory as of a receipt's
        time plus skew; or two times None."""
        then = self.directory.as_of(time + SKEW)
        poc = then.pocs.get(at)
        manifests = then.manifests(poc) if poc else []
        if not manifests or not then.in_force(poc, time) or time > manifests[-1].manifest["expires"] + directory.GRACE:
            return None, None
        it = then.listings(poc).get(id)
        if it is None or it.kind != what or right not in it.item["rights"]:
            return None, None
        ended = then.listed_end(poc, it.item) is not None
        if not ended and it.removed is not None and it.removed.moment <= time - SKEW:
            return None, None
        return it.item, then.current(poc)

    def _had_not_ended(self, record, time):
        return all(time < end.moment for end in self.directory.certificate_ends(record))

    @staticmethod
    def _stands(ends, time, word):
        """Does a key stand at a time? `word`: since when, by the word of others, the signed thing was there."""
        return all((word is not None and word < end.moment) if end.compromise else time < end.moment for end in ends)

    def _check_relay_receipt(self, name, value):
        receipt, device = value["receipt"], value["device"]
        message = self._sent(value["message"], name)
        poc = self.directory.pocs.get(value["poc"])
        listed = self.directory.listings(poc).get(device) if poc else None
        require(listed is not None and listed.kind == "device", name, "signer", "no such device")
        require(value["mailbox"] == signing.mailbox_id(device, receipt["relay"]), name, "mailbox")
        first = receipt["minute"] * 60
        last = first + 59
        self._not_future(first, name)
        known = [
            it
            for it in self.directory.relays.get(receipt["relay"], [])
            if max(it.certificate.not_before, it.time) <= first + SKEW and first <= it.certificate.not_after
            and self._stands(self.directory.certificate_ends(it), first, None)
        ]  # fmt: skip
        require(known, name, "relay")
        require(any(self._relay_verifies(receipt, it, value) for it in known), name, "relay-receipt")
        digest = self.digests.get((device, message.id))
        require(digest is None or digest == value["digest"], name, "envelope")
        if digest is not None:
            message.witnessed.append((value["poc"], last))
        self.relay_receipts.append((value, digest is not None))

    def _relay_verifies(self, receipt, record, value):
        try:
            key = record.certificate.key
            receipts.check_relay(self.realm, receipt, key, value["blind"], value["digest"], value["mailbox"])
            return True
        except Refusal:
            return False

    def _check_signatures(self, it):
        name, header, signed = it.section, it.header, it.value["header"]
        sender, created = header["sender"], header["created"]
        then = self.directory.as_of(created + SKEW)
        try:
            last = max((time for index, time in self.directory.counted if index < it.cited.size), default=0)
            keys = then.judge(sender, created, it.cited.size, created, self.checkpoint.size, last)
            release = it.value.get("release")
            envelope.check_signatures(self.realm, header, signed["bytes"], signed["signature"], release, *keys[:2])
        except Refusal as refusal:
            raise refuse(name, refusal.reason, refusal.detail) from None
        require(release is not None, name, "release")
        if not it.sent:
            own = self.directory.listings(self.directory.pocs[self.about["exporter"]]) if self._knows_exporter() else {}
            listed = own.get(it.entry["device"])
            require(listed is not None and listed.kind == "device", name, "own-entry", "not a device of the exporter")
        poc = self.directory.pocs[sender["poc"]]
        listings = self.directory.listings(poc)
        since = it.cited.cosigned_at - SKEW
        it.word = min((time for at, time in it.witnessed if at != sender["poc"] and time >= since), default=None)
        for id in (sender["device"], sender["officer"]):
            require(id in listings, name, "revoked", "no longer known")
            ends = self.directory.listed_ends(poc, listings[id].item)
            require(self._stands(ends, created, it.word), name, "revoked")
        certificate = then.current(then.pocs[sender["poc"]])
        require(self._had_not_ended(certificate, created), name, "revoked", "the PoC's key")

    def _knows_exporter(self):
        return self.about["exporter"] in self.directory.pocs

    def report(self):
        return {
            "anchored": self.anchored,
            "realm": f"{self.realm.origin}/{self.realm.mode}",
            "case": self.about["case"].hex(),
            "exporter": self.about["exporter"],
            "witnesses": self.trust.policy.quorum != "none",
            "entries": len(self.directory.entries),
            "messages": [
                {
                    "id": it.id.hex(), "direction": it.value["direction"], "sender": it.header["sender"]["poc"],
                    "created": it.header["created"], "content": it.content.hex(), "after": it.cited.cosigned_at,
                    "by": it.word, "leaves": {name: value.decode(errors="replace") for name, value in it.leaves.items()},
                }
                for it in self.messages
            ],
            "receipts": [
                {"kind": kind, "poc": it["poc"], "time": it["time"], "message": it["messageId"].hex()}
                for kind, it in self.receipts
            ],
            "relayReceipts": [
                {"relay": it["receipt"]["relay"], "poc": it["poc"], "minute": it["receipt"]["minute"], "tied": tied}
                for it, tied in self.relay_receipts
            ],
        }  # fmt: skip
