"""A device of its own: it logs in, publishes prekeys, and opens what waits for it."""
import json
import os
import time

from . import connection, directory, envelope, hpke, log, signing
from .encoding import Refusal, encode, u64

DAY = 86_400


class Device:
    """Signing seed, PoC, relay's host, and the secrets of prekeys (a JSON file, made when there is none)."""

    def __init__(self, realm, poc, seed, host, file):
        self.realm, self.poc, self.seed, self.host, self.file = realm, poc, seed, host, file
        self.key = signing.public_key(seed)
        self.id = signing.device_id(poc, self.key)
        self.stored = {"incarnation": os.urandom(16).hex(), "n": 0, "prekeys": []}
        if os.path.exists(file):
            with open(file, encoding="utf-8") as stored:
                self.stored = json.load(stored)

    def listing(self):
        """What its PoC needs for the manifest."""
        member = signing.sign_statement(self.realm, "member", encode({"v": 1, "poc": self.poc, "key": self.key}), self.seed)
        mailbox = signing.mailbox_id(self.id, self.host)
        return {
            "device": self.id.hex(), "key": self.key.hex(), "relay": self.host, "mailbox": mailbox.hex(),
            "member": member.hex(),
        }  # fmt: skip

    def save(self):
        with open(self.file, "w", encoding="utf-8") as out:
            json.dump(self.stored, out)

    def prekeys(self):
        return [envelope.Prekey(bytes.fromhex(it["seed"]), it["kind"]) for it in self.stored["prekeys"]]

    def make_prekey(self, kind, now):
        seed = os.urandom(32)
        pk = hpke.public_key(seed)
        data = encode(
            {
                "v": 1, "suite": 1, "device": self.id, "incarnation": bytes.fromhex(self.stored["incarnation"]),
                "n": self.stored["n"], "kind": kind, "id": signing.prekey_id(pk), "nbf": now, "exp": now + 14 * DAY,
                "pk": pk,
            }
        )  # fmt: skip
        self.stored["n"] += 1
        self.stored["prekeys"].append({"seed": seed.hex(), "kind": kind})
        return {"bytes": data, "signature": signing.sign_statement(self.realm, "prekey", data, self.seed)}

    def erase(self, prekey):
        self.stored["prekeys"] = [it for it in self.stored["prekeys"] if it["seed"] != prekey.seed.hex()]


class Mail:
    def __init__(self, url, trust, device, entries):
        self.trust, self.device = trust, device
        self.entries = list(entries)
        self.directory = directory.replay(trust, self.entries)
        self.connection = connection.Connection(
            url, trust.realm, device.host, self._relay_key, device.id, device.seed
        )
        self._waiting, self._seen = [], set()

    def _relay_key(self, certificate):
        """By the own copy of the log; without one by the challenge's certificate, under the CA that is sent with it."""
        record = self.directory.relay(self.device.host, int(time.time()))
        if record is not None:
            return record.certificate.key
        raise Refusal("ERR_UNTRUSTED", detail="the log lists no such relay")

    def answer(self, wanted, about):
        """The fields of the answer to the frame `about`; what else arrives is kept."""
        while True:
            type, fields = self.connection.receive()
            if type == connection.ERROR and connection.parse_error(fields)[0] == about:
                raise Refusal("relay", detail=str(connection.parse_error(fields)))
            if type == wanted and (wanted != connection.NOTICE or connection.parse_notice(fields).get("about") == about):
                return fields
            if type == connection.ENVELOPE:
                self._waiting.append(fields)

    def publish(self, one_time, now):
        reset = not self.device.stored["prekeys"]
        rotating = self.device.make_prekey("rotating", now)
        keys = [self.device.make_prekey("one-time", now) for _ in range(one_time)]
        self.device.save()
        incarnation = bytes.fromhex(self.device.stored["incarnation"])
        fields = connection.publish_fields(incarnation, reset, rotating, keys)
        about = self.connection.send(connection.PUBLISH, fields)
        return connection.parse_notice(self.answer(connection.NOTICE, about))["count"]

    def sync(self, now):
        """Takes the log from the relay, and believes what its checkpoint covers."""
        while True:
            about = self.connection.send(connection.SYNC, u64(len(self.entries)))
            got, note, entries = connection.parse_log(self.answer(connection.LOG, about))
            assert got == about
            checkpoint = self.trust.checkpoint(note, now, fresh=True)
            self.entries += entries[: checkpoint.size - len(self.entries)]
            if len(self.entries) >= checkpoint.size or not entries:
                break
        log_root = log.tree.root(self.entries, log.tree.sha256)
        if len(self.entries) != checkpoint.size or log_root != checkpoint.root:
            raise Refusal("ERR_UNTRUSTED", detail="the relay's log does not have its checkpoint's root")
        self.directory = directory.replay(self.trust, self.entries)
        return checkpoint.size

    def judge(self, now):
        def judge(header, note):
            try:
                cited = self.trust.checkpoint(note, now)
            except Refusal:
                raise Refusal("", "checkpoint") from None
            if cited.size <= len(self.entries):
                if log.tree.root(self.entries[: cited.size], log.tree.sha256) != cited.root:
                    raise Refusal("", "checkpoint", "another history")
            return self.directory.judge(header["sender"], header["created"], cited.size, now)

        return judge

    def collect(self, seconds):
        """Opens what arrives until nothing has come for so many seconds; yields (opened or None, refusal or None)."""
        while True:
            if self._waiting:
                fields = self._waiting.pop(0)
            else:
                try:
                    type, fields = self.connection.receive(seconds)
                except OSError:
                    return
                except Exception as error:
                    if "timed out" in str(error):
                        return
                    raise
                if type != connection.ENVELOPE:
                    continue
            sequence, _, sealed = connection.parse_envelope(fields)
            now = int(time.time())
            arguments = self.trust.realm, self.device.poc, self.device.id, self.device.prekeys(), self.judge(now), now
            opened = refusal = None
            try:
                opened = envelope.open_envelope(sealed, *arguments)
                if (opened.header["sender"]["device"], opened.header["messageId"]) in self._seen:
                    raise Refusal("", "replay")
                self._seen.add((opened.header["sender"]["device"], opened.header["messageId"]))
                if opened.prekey.kind == "one-time":
                    self.device.erase(opened.prekey)
                    self.device.save()
            except Refusal as no:
                refusal = no
            if refusal is None or refusal.detail != "not yet":
                self.connection.send(connection.COLLECTED, connection.collected_fields([sequence]))
            yield opened, refusal


