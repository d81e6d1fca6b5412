"""The directory, replayed from the log's entries by the rules of SPEC "Directory", and what follows from it."""
import re

from . import certificates, log, signing
from .encoding import (
    HASH, HOST, SECONDS, SIGNATURE, SIGNED, Refusal, address, array, boolean, bytes_of, either, encode, integer,
    malformed, mapping, null, open_structure, tagged_hash, text,
)  # fmt: skip

SKEW = 600
DAY = 86_400
GRACE = 30 * DAY
STATES = set(
    """
    ad ae af ag al am ao ar at au az ba bb bd be bf bg bh bi bj bn bo br bs bt bw by bz ca cd cf cg ch ci cl cm cn co cr
    cu cv cy cz de dj dk dm do dz ec ee eg er es et fi fj fm fr ga gb gd ge gh gm gn gq gr gt gw gy hn hr ht hu id ie il
    in iq ir is it jm jo jp ke kg kh ki km kn kp kr kw kz la lb lc li lk lr ls lt lu lv ly ma mc md me mg mh mk ml mm mn
    mr mt mu mv mw mx my mz na ne ng ni nl no np nr nz om pa pe pg ph pk pl pt pw py qa ro rs ru rw sa sb sc sd se sg si
    sk sl sm sn so sr ss st sv sy sz td tg th tj tl tm tn to tr tt tv tz ua ug us uy uz vc ve vn vu ws ye za zm zw
    """.split()
)
assert len(STATES) == 193


class NotCounted(Exception):
    def __init__(self, reason):
        super().__init__(reason)
        self.reason = reason


def require(holds, reason):
    if not holds:
        raise NotCounted(reason)


# --- The trust file ---------------------------------------------------------------------------------------------------


class Trust:
    def __init__(self, data):
        try:
            words = data.decode() if isinstance(data, bytes) else data
        except UnicodeDecodeError:
            raise malformed("trust file") from None
        match = re.fullmatch(
            "valise trust file v1\norigin ([^\n]+)\nmode (live|exercise)\n\n"
            "-----BEGIN CERTIFICATE-----\n([A-Za-z0-9+/=\n]+)\n-----END CERTIFICATE-----\n\n(.*)",
            words,
            re.DOTALL,
        )
        label = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
        last = "[a-z]([a-z0-9-]{0,61}[a-z0-9])"
        if match is None or len(words.encode("utf-16-le")) // 2 > 73728:
            raise malformed("trust file")
        if len(match[1]) > 120 or not re.fullmatch(rf"({label}\.)+{last}", match[1]):
            raise malformed("origin")
        lines = match[3].split("\n")
        if any(len(line) != 64 for line in lines[:-1]) or not 1 <= len(lines[-1]) <= 64:
            raise malformed("certificate of the trust file")
        self.realm = signing.Realm(match[1], match[2])
        self.policy = log.Policy(match[4])
        if len(self.policy.logs) != 1:
            raise malformed("one log, please")
        self.log_key = self.policy.logs[0]
        self.root = certificates.check_root(self.realm, log.base64_decode("".join(lines)))

    def checkpoint(self, note, now=None, fresh=False):
        return log.open_checkpoint(note, self.log_key, self.policy, now, fresh)


# --- Structures -------------------------------------------------------------------------------------------------------

CO_SIGNATURE = mapping({"device": HASH, "signature": SIGNATURE})
RIGHTS = {"device": ("send", "receive"), "officer": ("acknowledge", "release", "consent", "attest", "approve")}


def _rights(kind):
    return array(text(one_of=RIGHTS[kind]), most=5, distinct=True)


DEVICE = mapping(
    {"device": HASH, "key": HASH, "relay": HOST, "mailbox": bytes_of(16), "rights": _rights("device"), "member": SIGNATURE},
    closed=False,
)
OFFICER = mapping(
    {"officer": HASH, "key": HASH, "title": text(most=100), "rights": _rights("officer"), "member": SIGNATURE},
    closed=False,
)
MANIFEST = {
    "poc": address,
    "version": integer(1, 2**48),
    "previous": either(HASH, null),
    "created": SECONDS,
    "expires": SECONDS,
    "devices": array(DEVICE, most=16),
    "officers": array(OFFICER, most=64),
}
URL = text(r"wss?://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?/[\x21-\x7e]{0,200}")
ROLE = text(r"[a-z][a-z0-9-]{0,29}[a-z0-9]")
RELAY_HOST = text(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?", most=64)
BODIES = {
    "ca": ({"certificate": bytes_of()}, {}),
    "certificate": (
        {
            "use": text(one_of=("poc", "secretariat")), "poc": address, "isDefault": boolean,
            "certificate": bytes_of(), "member": SIGNATURE,
        },
        {},
    ),
    "manifest": ({"poc": address, "manifest": SIGNED}, {"coSignatures": array(CO_SIGNATURE, most=16)}),
    "relay": (
        {"host": RELAY_HOST, "urls": array(URL, most=4), "certificate": bytes_of(), "member": SIGNATURE},
        {},
    ),
    "revocation": ({"statement": SIGNED}, {}),
    "default": ({"poc": address}, {}),
    "role": ({"role": ROLE}, {}),
}  # fmt: skip
ENTRY = {"kind": text(most=32), "time": SECONDS, "body": bytes_of()}
APPROVAL = {"poc": address, "kind": text(one_of=tuple(BODIES)), "subject": HASH, "created": SECONDS, "expires": SECONDS}
TARGETS = {
    "certificate": {"poc": address, "certificate": HASH},
    "device": {"poc": address, "device": HASH},
    "officer": {"poc": address, "officer": HASH},
    "relay": {"host": HOST, "certificate": HASH},
    "ca": {"certificate": HASH},
}
LINE = text()
REVOCATION = {
    "target": either(*(mapping({"kind": text(one_of=(kind,)), **fields}) for kind, fields in TARGETS.items())),
    "reason": text(one_of=("compromise", "superseded", "withdrawn", "officer-gone")),
    "text": LINE,
    "effective": SECONDS,
    "requester": HASH,
}


def parse_manifest(data):
    manifest = open_structure(data, MANIFEST)
    if (manifest["version"] == 1) != (manifest["previous"] is None):
        raise malformed("previous")
    if not manifest["created"] < manifest["expires"] <= manifest["created"] + 90 * DAY:
        raise malformed("expires")
    return manifest


def check_manifest(realm, data, signature, poc, key):
    """SPEC "Manifest", "Checks"."""
    signing.check_statement(realm, "manifest", data, key, signature)
    manifest = parse_manifest(data)
    listed = manifest["devices"] + manifest["officers"]
    keys = [key, *(it["key"] for it in listed)]
    holds = manifest["poc"] == poc and len(set(keys)) == len(keys)
    for it in listed:
        holds = holds and signing.is_sound_key(it["key"]) and signing.member_of(realm, poc, it["key"], it["member"])
        if "device" in it:
            holds = holds and it["device"] == signing.device_id(poc, it["key"])
            holds = holds and it["mailbox"] == signing.mailbox_id(it["device"], it["relay"])
        else:
            holds = holds and it["officer"] == signing.officer_id(poc, it["key"])
    if not holds:
        raise Refusal("ERR_UNTRUSTED", detail="manifest")
    return manifest


# --- Records ----------------------------------------------------------------------------------------------------------


class Record:
    """One entry that counted, with what its reading gave."""

    def __init__(self, **fields):
        self.__dict__.update(fields)


class Poc:
    """`steps`: certificates and manifests in the log's order; `compromised`: its keys, and since when."""

    def __init__(self, at):
        self.address, self.steps, self.is_default, self.compromised = at, [], False, {}


class End:
    """How a key or certificate ended: by revocation (`revoked`, `compromise`) or because it is `removed`."""

    def __init__(self, kind, moment, index):
        self.kind, self.moment, self.index = kind, moment, index


class Directory:
    """`partial`: a part of a log, which cannot show which PoC is a State's default (evidence files)."""

    def __init__(self, trust, partial=False):
        self.trust, self.realm, self.partial = trust, trust.realm, partial
        self.entries, self.counted, self.refused = [], [], []
        self.time = 0
        self.cas, self.pocs, self.relays, self.roles = [], {}, {}, {"diplomatic", "technical"}
        self.revocations, self.used, self.secretariat = [], set(), None
        self.compromised = set()

    def add(self, data, index=None):
        """Reads the next entry; gives the reason if it does not count."""
        index = len(self.entries) if index is None else index
        self.entries.append((index, data))
        try:
            time = self._read(data, index)
        except NotCounted as no:
            self.refused.append((index, no.reason))
            return no.reason
        self.time = time
        self.counted.append((index, time))
        return None

    def as_of(self, time):
        """The directory of the entries up to a time."""
        then = Directory(self.trust, self.partial)
        counted = dict(self.counted)
        for index, data in self.entries:
            if index in counted and counted[index] <= time:
                then.add(data, index)
        return then

    # --- One entry

    def _read(self, data, index):
        try:
            if len(data) > 65535:
                raise malformed("entry")
            entry = open_structure(data, ENTRY, {"approvals": array(SIGNED, most=8)})
            require(entry["kind"] in BODIES, "kind")
            body = open_structure(entry["body"], *BODIES[entry["kind"]])
            if entry["kind"] == "revocation":
                statement = body["statement"]
                body["revocation"] = self._parse_revocation(statement["bytes"])
        except Refusal as refusal:
            raise NotCounted("version" if refusal.code == "ERR_VERSION" else "malformed") from None
        require(entry["time"] >= self.time, "time")
        entry["subject"] = tagged_hash("log-entry", entry["kind"], entry["body"])
        entry["index"] = index
        getattr(self, "_" + entry["kind"])(entry, body)
        self.used |= {approval["bytes"] for approval in entry.get("approvals", [])}
        return entry["time"]

    @staticmethod
    def _parse_revocation(data):
        revocation = open_structure(data, REVOCATION, {"evidence": HASH, "contested": boolean})
        if not certificates.is_line(revocation["text"], 500):
            raise malformed("text")
        return revocation

    def _approvals(self, entry, poc=None):
        """(the PoC itself has approved, number of officers who have); `poc`: the PoC that may approve, if one may."""
        by_poc, officers = False, set()
        for signed in entry.get("approvals", []):
            try:
                approval = open_structure(signed["bytes"], APPROVAL, {"officer": HASH})
            except Refusal:
                raise NotCounted("approval") from None
            if "officer" in approval:
                key = self._approver(approval)
                officers.add(approval["officer"])
            else:
                key = poc and approval["poc"] == poc.address and self.key_in_force(poc, entry["time"])
                by_poc = True
            require(
                key
                and signing.statement_verifies(self.realm, "approval", signed["bytes"], key, signed["signature"])
                and approval["kind"] == entry["kind"]
                and approval["subject"] == entry["subject"]
                and approval["created"] < approval["expires"] <= approval["created"] + 30 * DAY
                and approval["created"] - SKEW <= entry["time"] <= approval["expires"]
                and signed["bytes"] not in self.used,
                "approval",
            )
        return by_poc, len(officers)

    def _approver(self, approval):
        """The key of an officer of the Secretariat who may approve now."""
        if self.secretariat is None or approval["poc"] != self.secretariat.address:
            return None
        for officer in self._approvers():
            if officer["officer"] == approval["officer"]:
                return officer["key"]
        return None

    def _approvers(self):
        manifests = self.manifests(self.secretariat)
        listed = manifests[-1].manifest["officers"] if manifests else []
        return [it for it in listed if "approve" in it["rights"] and self.listed_end(self.secretariat, it) is None]

    # --- Kinds

    def _ca(self, entry, body):
        certificate = self._certified(lambda: certificates.check_ca(self.realm, body["certificate"], self.trust.root, entry["time"]))
        require(all(ca.certificate.der != certificate.der for ca in self.cas), "repeated")
        self._approvals(entry)
        self.cas.append(Record(certificate=certificate, index=entry["index"], time=entry["time"]))

    @staticmethod
    def _certified(check):
        try:
            return check()
        except Refusal as refusal:
            raise NotCounted(refusal.reason) from None

    def _leaf(self, entry, body, use, subject):
        """What certificate and relay entries have in common."""
        cas = [ca.certificate for ca in self.cas if self.certificate_end(ca) is None]
        require(cas, "no-ca")
        wanted = certificates.Subject(self.realm, use, subject)
        certificate = self._certified(lambda: self._under_one_of(cas, body["certificate"], wanted, entry["time"]))
        label, value = ("subject", wanted.uri) if use == "relay" else ("poc", subject)
        member = encode({"v": 1, label: value, "key": certificate.key})
        signed = signing.statement_verifies(self.realm, "member", member, certificate.key, body["member"])
        require(signed, "possession")
        require(certificate.key not in self.compromised, "key-compromised")
        for holder, known in self._all_certificates():
            require(known.key != certificate.key or holder == subject, "key-used")
        for holder, known in self._all_certificates():
            require(known.der != certificate.der, "repeated")
        return certificate

    def _under_one_of(self, cas, data, subject, now):
        for ca in cas:
            try:
                return certificates.check_leaf(self.realm, data, ca, subject, now)
            except Refusal as refusal:
                last = refusal
        raise last

    def _all_certificates(self):
        for poc in self.pocs.values():
            for record in poc.steps:
                if record.kind == "certificate":
                    yield poc.address, record.certificate
        for host, records in self.relays.items():
            for record in records:
                yield host, record.certificate

    def _certificate(self, entry, body):
        at, now = body["poc"], entry["time"]
        state, role, _ = at.split("/")
        if body["use"] == "poc":
            require(state in STATES and role in self.roles, "address")
        else:
            require(state == "un" and role == "secretariat", "address")
            require(self.secretariat is None or self.secretariat.address == at, "address")
        certificate = self._leaf(entry, body, body["use"], at)
        if not self.partial:
            others = [
                poc for poc in self.pocs.values()
                if poc.address != at and poc.address.rsplit("/", 1)[0] == f"{state}/{role}"
                and poc.is_default and self.in_force(poc, now)
            ]  # fmt: skip
            require(body["isDefault"] == (not others), "default")
        poc = self.pocs.get(at)
        by_poc, officers = self._approvals(entry, poc)
        first = body["use"] == "secretariat" and self.secretariat is None
        require(first or by_poc or officers >= 2, "not-approved")
        if poc is None:
            poc = self.pocs[at] = Poc(at)
        if first:
            self.secretariat = poc
        if body["isDefault"]:
            self._make_default(poc)
        poc.is_default = body["isDefault"]
        signer = self.key_in_force(poc, now) if by_poc and officers < 2 else None
        poc.steps.append(
            Record(kind="certificate", certificate=certificate, index=entry["index"], time=now, signer=signer, poc=at)
        )

    def _make_default(self, poc):
        role = poc.address.rsplit("/", 1)[0]
        for other in self.pocs.values():
            if other.address.rsplit("/", 1)[0] == role:
                other.is_default = other is poc

    def _manifest(self, entry, body):
        poc, now = self.pocs.get(body["poc"]), entry["time"]
        require(poc, "unknown")
        key = self.key_in_force(poc, now)
        require(key, "not-in-force")
        signed = body["manifest"]
        try:
            manifest = check_manifest(self.realm, signed["bytes"], signed["signature"], poc.address, key)
        except Refusal:
            raise NotCounted("manifest") from None
        before = self.manifests(poc)
        if before:
            previous = tagged_hash("statement", before[-1].bytes)
            follows = manifest["version"] == before[-1].manifest["version"] + 1 and manifest["previous"] == previous
        else:
            follows = manifest["version"] == 1
        require(follows, "manifest-order")
        require(manifest["created"] <= now + SKEW and now <= manifest["expires"], "manifest-dates")
        keys = [it["key"] for it in manifest["devices"] + manifest["officers"]]
        require(all(key not in self.compromised for key in keys), "key-compromised")
        _, officers = self._approvals(entry)
        if poc is self.secretariat:
            may = self._may_approve(poc, manifest)
            require(len(may) >= 2, "approvers")
            changed = bool(before) and may != self._may_approve(poc, before[-1].manifest)
            require(not changed or officers >= 2, "not-approved")
        poc.steps.append(
            Record(
                kind="manifest", manifest=manifest, bytes=signed["bytes"], index=entry["index"], time=now, signer=key,
                co_signatures=body.get("coSignatures", []),
            )
        )  # fmt: skip

    def _may_approve(self, poc, manifest):
        """Ids of those whom a manifest lets approve, and who have not been revoked."""
        listed = [it for it in manifest["officers"] if "approve" in it["rights"]]
        return {it["officer"] for it in listed if self.listed_end(poc, it) is None}

    def _relay(self, entry, body):
        certificate = self._leaf(entry, body, "relay", body["host"])
        _, officers = self._approvals(entry)
        require(officers >= 2, "not-approved")
        record = Record(
            certificate=certificate, index=entry["index"], time=entry["time"], urls=body["urls"], host=body["host"]
        )
        self.relays.setdefault(body["host"], []).append(record)

    def _default(self, entry, body):
        poc, now = self.pocs.get(body["poc"]), entry["time"]
        require(poc, "unknown")
        require(self.in_force(poc, now), "not-in-force")
        require(not poc.is_default, "repeated")
        role = poc.address.rsplit("/", 1)[0]
        present = next(
            (it for it in self.pocs.values() if it.is_default and it.address.rsplit("/", 1)[0] == role), None
        )
        if present is not None and not self.in_force(present, now):
            present = None
        by_poc, officers = self._approvals(entry, present)
        require(by_poc if present else officers >= 2, "not-approved")
        self._make_default(poc)

    def _role(self, entry, body):
        require(body["role"] not in self.roles | {"secretariat"}, "repeated")
        _, officers = self._approvals(entry)
        require(officers >= 2, "not-approved")
        self.roles.add(body["role"])

    def _revocation(self, entry, body):
        it, signed, now = body["revocation"], body["statement"], entry["time"]
        target, requester = it["target"], it["requester"]
        good = signing.statement_verifies(self.realm, "revocation", signed["bytes"], requester, signed["signature"])
        require(good, "signature")
        require(not it.get("contested"), "contested")
        require(it["effective"] <= now + SKEW, "effective")
        _, officers = self._approvals(entry)
        poc = self.pocs.get(target.get("poc"))
        found = self._target(target, poc)
        require(found, "unknown")
        key, certificate = found
        secretariat = self.secretariat and self.current(self.secretariat)
        by_secretariat = bool(secretariat) and requester == secretariat.certificate.key and officers >= 2
        kind = target["kind"]
        entitled = {
            "certificate": requester == key,
            "device": requester == key or (poc and requester == self.key_in_force(poc, now)),
            "officer": requester == key
            or (by_secretariat if poc is self.secretariat else poc and requester == self.key_in_force(poc, now)),
            "relay": requester == key or by_secretariat,
            "ca": by_secretariat,
        }
        require(entitled[kind], "not-entitled")
        require(kind != "certificate" or it["effective"] >= certificate.not_before, "effective")
        moment = min(it["effective"], now)
        compromise = it["reason"] == "compromise"
        self.revocations.append(
            Record(target=target, key=key, compromise=compromise, moment=moment, index=entry["index"], time=now)
        )
        if compromise:
            self.compromised.add(key)
            if kind == "certificate":
                poc.compromised.setdefault(key, moment)

    def _target(self, target, poc):
        """(key, certificate or None) of what a revocation names."""
        kind = target["kind"]
        if kind == "ca":
            known = [ca for ca in self.cas if self.certificate_end(ca) is None]
        elif kind == "relay":
            known = [it for it in self.relays.get(target["host"], []) if self.certificate_end(it) is None]
        elif poc is None:
            return None
        elif kind == "certificate":
            known = [record for record in poc.steps if record.kind == "certificate"]
        else:
            for record in self.manifests(poc):
                for it in record.manifest[kind + "s"]:
                    if it[kind] == target[kind]:
                        return it["key"], None
            return None
        for record in known:
            if record.certificate.hash == target["certificate"]:
                return record.certificate.key, record.certificate
        return None

    # --- What has ended

    @staticmethod
    def _end_of(ends):
        """Compromise outranks; otherwise the first revocation holds."""
        chosen = next((it for it in ends if it.compromise), ends[0] if ends else None)
        return chosen and End("compromise" if chosen.compromise else "revoked", chosen.moment, chosen.index)

    def certificate_ends(self, record):
        """Of this very certificate, and of its key by compromise, under whichever of the holder's certificates."""
        holder = getattr(record, "poc", None), getattr(record, "host", None)
        return [
            it
            for it in self.revocations
            if it.target.get("certificate") == record.certificate.hash
            or (it.compromise and it.key == record.certificate.key
                and (it.target.get("poc"), it.target.get("host")) == holder and "certificate" in it.target)
        ]  # fmt: skip

    def listed_ends(self, poc, it):
        kind = "device" if "device" in it else "officer"
        wanted = {"kind": kind, "poc": poc.address, kind: it[kind]}
        return [it for it in self.revocations if it.target == wanted]

    def certificate_end(self, record):
        return self._end_of(self.certificate_ends(record))

    def listed_end(self, poc, it):
        return self._end_of(self.listed_ends(poc, it))

    # --- What follows for a PoC

    def _steps(self, poc, kind):
        """What still counts: not what a compromised key signed since, nor what keys signed that it had certified."""
        keys, kept = set(), []
        for step in poc.steps:
            moment = None if poc is self.secretariat else poc.compromised.get(step.signer)
            if (step.signer is not None and step.signer not in keys) or (moment is not None and step.time >= moment):
                continue
            if step.kind == "certificate":
                keys.add(step.certificate.key)
            kept.append(step)
        return [step for step in kept if step.kind == kind]

    def manifests(self, poc):
        return self._steps(poc, "manifest")

    def current(self, poc):
        """The last certificate that counts; it may have ended."""
        return next(reversed(self._steps(poc, "certificate")), None)

    def in_force(self, poc, now):
        record = self.current(poc)
        holds = record is not None and self.certificate_end(record) is None and now <= record.certificate.not_after
        return record if holds else None

    def key_in_force(self, poc, now):
        record = self.in_force(poc, now)
        return record and record.certificate.key

    def listings(self, poc):
        """What each device and officer id is or was: id -> Record(item, since, usable_from, removed)."""
        found, listed_before = {}, set()
        first = next((step for step in poc.steps if step.kind == "manifest"), None)
        for record in self.manifests(poc):
            items = record.manifest["devices"] + record.manifest["officers"]
            known = {id: it for id, it in found.items() if id in listed_before}
            at_once = record is first or any(self._vouches(poc, known, record, it) for it in record.co_signatures)
            listed = set()
            for item in items:
                kind = "device" if "device" in item else "officer"
                id, old = item[kind], known.get(item[kind])
                listed.add(id)
                waits = old is None or ("receive" in item["rights"] and "receive" not in old.item["rights"])
                usable = record.time + DAY if waits else old.usable_from
                usable = min(record.time, usable) if at_once else usable
                since = record.index if old is None else old.since
                found[id] = Record(kind=kind, item=item, since=since, usable_from=usable, removed=None)
            for id in listed_before - listed:
                found[id].removed = End("removed", record.time, record.index)
            listed_before = listed
        return found

    def _vouches(self, poc, known, record, co_signature):
        old = known.get(co_signature["device"])
        if old is None or old.kind != "device" or old.usable_from > record.time:
            return False
        ended = any(it.index < record.index for it in self.listed_ends(poc, old.item))
        return not ended and signing.statement_verifies(
            self.realm, "manifest", record.bytes, old.item["key"], co_signature["signature"]
        )

    def usable(self, poc, now):
        """Devices to which senders seal at a moment: [(device's item, usable from)]."""
        manifests = self.manifests(poc)
        if not self.in_force(poc, now) or not manifests or now > manifests[-1].manifest["expires"] + GRACE:
            return []
        return [
            (it.item, it.usable_from)
            for it in self.listings(poc).values()
            if it.kind == "device" and it.removed is None and it.usable_from <= now
            and "receive" in it.item["rights"] and self.listed_end(poc, it.item) is None
        ]  # fmt: skip

    def relay(self, host, now):
        """The last entry of a relay, if its certificate holds."""
        records = self.relays.get(host, [])
        record = records[-1] if records else None
        if record is None or self.certificate_end(record) or now > record.certificate.not_after:
            return None
        return record

    # --- Judging a sender

    def judge(self, sender, created, cited, now, size=None, last=None):
        """Gives (device key, officer key or None, banners), or raises a Refusal with SPEC's reason. `size` of the log and
        `last` time of the cited one: where this directory is of a part."""
        if cited > (self.size if size is None else size):
            raise Refusal("", "checkpoint", "not yet")
        poc = self.pocs.get(sender["poc"])
        certificate = self.current(poc) if poc else None
        if certificate is None or not self.manifests(poc):
            raise Refusal("", "sender")
        listings = self.listings(poc)
        named = [("device", "send", sender["device"])]
        if "officer" in sender:
            named.append(("officer", "release", sender["officer"]))
        listed = [listings.get(id) for _, _, id in named]
        for (kind, right, _), it in zip(named, listed):
            if it is None or it.kind != kind or right not in it.item["rights"] or it.since >= cited:
                raise Refusal("", "sender")
        banners = []
        for it in listed:
            end = self.listed_end(poc, it.item)
            if end is not None and end.kind == "compromise":
                raise Refusal("", "revoked")
            end = end or it.removed
            if end is not None:
                self._before_end(end, created, cited, "sender" if end.kind == "removed" else "revoked")
                banners.append(f"{it.kind}-{end.kind}")
        end = self.certificate_end(certificate)
        if end is not None:
            self._before_end(end, created, cited, "revoked")
            banners.append("certificate-revoked")
        if last is None:
            last = max((time for index, time in self.counted if index < cited), default=0)
        if created < last - SKEW:
            raise Refusal("", "checkpoint", "created before the cited log")
        expires = self.manifests(poc)[-1].manifest["expires"]
        if created > certificate.certificate.not_after or created > expires + GRACE:
            raise Refusal("", "sender", "expired")
        if created < listed[0].usable_from:
            banners.append("device-new")
        if now > certificate.certificate.not_after:
            banners.append("certificate-expired")
        if now > expires:
            banners.append("manifest-expired")
        return listed[0].item["key"], listed[1].item["key"] if len(listed) > 1 else None, banners

    @property
    def size(self):
        return self.entries[-1][0] + 1 if self.entries else 0

    @staticmethod
    def _before_end(end, created, cited, reason):
        if not (created < end.moment and cited <= end.index):
            raise Refusal("", reason)


def replay(trust, entries):
    directory = Directory(trust)
    for entry in entries:
        directory.add(entry)
    return directory

