"""Notes, checkpoints, witness policies and tiles (SPEC "Transparency log")."""
import base64
import binascii
import re

from . import signing, tree
from .encoding import Refusal, malformed
from .tree import untrusted

SKEW = 600
FRESH = 259_200


def base64_decode(text):
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise malformed("base64") from None
    if base64.b64encode(data).decode() != text:
        raise malformed("base64 not in its canonical form")
    return data


def _check_name(name):
    if not name or any(c.isspace() or ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 or c == "+" for c in name):
        raise malformed("name of a key")


class Key:
    """A verifier key of type 1 (signs the text) or 4 (cosigns with a date)."""

    def __init__(self, name, type, public_key):
        self.name, self.type, self.public_key = name, type, public_key
        self.id = tree.sha256(name.encode() + b"\n" + bytes([type]) + public_key)[:4]

    @classmethod
    def parse(cls, text):
        parts = text.split("+", 2)
        if len(parts) != 3:
            raise malformed("verifier key")
        _check_name(parts[0])
        data = base64_decode(parts[2])
        if len(data) != 33 or data[0] not in (1, 4):
            raise malformed("verifier key")
        key = cls(parts[0], data[0], data[1:])
        if key.id.hex() != parts[1]:
            raise malformed("id of a verifier key")
        return key

    def text(self):
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(bytes([self.type]) + self.public_key).decode()}"

    def of_type(self, type):
        return Key(self.name, type, self.public_key)


def parse_note(data):
    """(text, signature lines as (name, key id, signature))"""
    if len(data) > 65536:
        raise malformed("a note that is too long")
    try:
        note = data.decode()
    except UnicodeDecodeError:
        raise malformed("a note that is not UTF-8") from None
    if any(ord(c) < 0x20 and c != "\n" for c in note):
        raise malformed("control character in a note")
    border = note.rfind("\n\n")
    if border < 0 or not note.endswith("\n"):
        raise malformed("a note without signatures")
    text, lines = note[: border + 1], note[border + 2 :].split("\n")[:-1]
    if not 1 <= len(lines) <= 64:
        raise malformed("number of signatures")
    found = []
    for line in lines:
        match = re.fullmatch("\u2014 ([^ ]+) ([^ ]+)", line)
        if match is None:
            raise malformed("signature line")
        _check_name(match[1])
        data = base64_decode(match[2])
        if len(data) < 5:
            raise malformed("signature line")
        found.append((match[1], data[:4], data[4:]))
    return text, found


class Policy:
    """A witness policy of C2SP tlog-policy."""

    def __init__(self, text):
        self.logs, self.names, self.quorum = [], {}, None
        keys, members = set(), set()
        if len(text) > 65536 or (text and not text.endswith("\n")):
            raise malformed("policy")
        if any(ord(c) < 0x20 and c not in "\t\n" or ord(c) == 0x7F for c in text):
            raise malformed("control character in a policy")
        for line in text.split("\n"):
            words = [word for word in re.split("[ \t]+", line) if word]
            if not words or words[0].startswith("#"):
                continue
            what, rest = words[0], words[1:]
            if what == "log" and len(rest) in (1, 2):
                self.logs.append(self._key(rest[0], 1, keys))
            elif what == "witness" and len(rest) in (2, 3):
                self._define(rest[0], self._key(rest[1], 4, keys))
            elif what == "group" and len(rest) >= 3:
                inside = rest[2:]
                for name in inside:
                    if name not in self.names or name in members:
                        raise malformed("member of a group")
                    members.add(name)
                k = {"any": "1", "all": str(len(inside))}.get(rest[1], rest[1])
                if not re.fullmatch("[1-9][0-9]{0,3}", k) or int(k) > len(inside):
                    raise malformed("size of a group's quorum")
                self._define(rest[0], (int(k), inside))
            elif what == "quorum" and len(rest) == 1 and self.quorum is None:
                if rest[0] != "none" and rest[0] not in self.names:
                    raise malformed("quorum")
                self.quorum = rest[0]
            else:
                raise malformed(f"line of a policy: {line}")
        if self.quorum is None or len(self.logs) > 64 or len(self.names) > 64:
            raise malformed("policy")

    @staticmethod
    def _key(text, type, keys):
        key = Key.parse(text)
        if key.type != type or (type, key.public_key) in keys:
            raise malformed("key of a policy")
        keys.add((type, key.public_key))
        return key

    def _define(self, name, what):
        if name in self.names or name == "none":
            raise malformed("name of a policy")
        self.names[name] = what

    def witnesses(self):
        return [what for what in self.names.values() if isinstance(what, Key)]

    def since(self, name, times):
        """The latest time since which `name` vouches, given each witness key's time; None if it does not."""
        what = self.names[name]
        if isinstance(what, Key):
            return times.get(what.text())
        k, inside = what
        known = sorted((t for t in (self.since(member, times) for member in inside) if t is not None), reverse=True)
        return known[k - 1] if len(known) >= k else None


class Checkpoint:
    def __init__(self, origin, size, root, cosigned_at):
        self.origin, self.size, self.root, self.cosigned_at = origin, size, root, cosigned_at


def open_checkpoint(note, log_key, policy, now=None, fresh=False):
    """SPEC "Opening a checkpoint". Without `now` no cosignature is ahead of time, with `fresh` an old one is refused."""
    text, lines = parse_note(note)
    rows = text.split("\n")[:-1]
    if len(rows) < 3 or any(not row for row in rows):
        raise malformed("checkpoint")
    if not re.fullmatch("0|[1-9][0-9]{0,15}", rows[1]) or int(rows[1]) > 2**53 - 1:
        raise malformed("size of a checkpoint")
    root = base64_decode(rows[2])
    if len(root) != 32:
        raise malformed("root of a checkpoint")
    if rows[0] != log_key.name or (policy.logs and log_key.text() not in [key.text() for key in policy.logs]):
        raise untrusted("another log's checkpoint")
    if not _signed(text, lines, log_key):
        raise untrusted("a checkpoint that the log has not signed")
    own = log_key.of_type(4)
    times = {key.text(): _cosigned(text, lines, key, now) for key in [own, *policy.witnesses()]}
    if policy.quorum == "none":
        since = times[own.text()]
    else:
        witnesses = {name: time for name, time in times.items() if Key.parse(name).public_key != log_key.public_key}
        since = policy.since(policy.quorum, witnesses)
    if since is None:
        raise untrusted("a checkpoint without its quorum")
    if fresh and now > since + FRESH:
        raise Refusal("ERR_DIRECTORY_STALE")
    return Checkpoint(rows[0], int(rows[1]), root, since)


def _signed(text, lines, key):
    claims = [signature for name, id, signature in lines if (name, id) == (key.name, key.id)]
    for signature in claims:
        if len(signature) != 64 or not signing.verifies(key.public_key, text.encode(), signature):
            raise untrusted("a signature of the log that does not verify")
    return bool(claims)


def cosigned_text(time, text):
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def _cosigned(text, lines, key, now):
    latest = None
    for name, id, signature in lines:
        if (name, id) != (key.name, key.id):
            continue
        time = int.from_bytes(signature[:8], "big")
        message = cosigned_text(time, text)
        if len(signature) != 72 or not signing.verifies(key.public_key, message, signature[8:]):
            raise untrusted("a cosignature that does not verify")
        if now is None or time <= now + SKEW:
            latest = max(time, latest or 0)
    return latest


# --- Files (C2SP tlog-tiles) ------------------------------------------------------------------------------------------


def tile_path(level, index, width=256):
    groups = [f"{index % 1000:03}"]
    while index >= 1000:
        index //= 1000
        groups.insert(0, f"x{index % 1000:03}")
    return f"tile/{level}/{'/'.join(groups)}" + (f".p/{width}" if width < 256 else "")


def bundle_entries(data, count):
    entries, at = [], 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 2], "big")
        entries.append(data[at + 2 : at + 2 + length])
        at += 2 + length
    if at != len(data) or len(entries) != count:
        raise malformed("bundle of entries")
    return entries


def read_log(fetch, log_key, policy, now):
    """(checkpoint, entries) of a log whose files `fetch(path)` gives, or None where there is none."""
    checkpoint = open_checkpoint(fetch("checkpoint"), log_key, policy, now, fresh=True)
    entries = []
    for start in range(0, checkpoint.size, 256):
        width = min(256, checkpoint.size - start)
        data = fetch(tile_path("entries", start // 256, width))
        if data is None and width < 256:
            full = fetch(tile_path("entries", start // 256))
            data = full and b"".join(_with_length(entry) for entry in bundle_entries(full, 256)[:width])
        if data is None:
            raise malformed("a bundle of entries is missing")
        entries += bundle_entries(data, width)
    if tree.root(entries, tree.sha256) != checkpoint.root:
        raise Refusal("ERR_UNTRUSTED", detail="the entries do not have the checkpoint's root")
    return checkpoint, entries


def _with_length(entry):
    return len(entry).to_bytes(2, "big") + entry
