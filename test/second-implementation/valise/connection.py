"""A device's connection to its relay: login, frames, and the WebSocket beneath them (SPEC "Connection")."""
import hashlib
import hmac
import os
import struct

from . import hpke, signing
from .encoding import (
    SIGNED, Refusal, array, bytes_of, decode, encode, integer, malformed, mapping, sha3, tagged_hash, text, u16, u64,
)  # fmt: skip

HELLO, PROOF, SUBMIT, COLLECTED, FETCH, PUBLISH, SYNC, BYE = range(1, 9)
CHALLENGE, WELCOME, ACCEPTED, ENVELOPE, PREKEYS, LOG, NOTICE, ERROR = range(0x81, 0x89)
NUMBER = integer(0, 2**53 - 1)


def mac(key, *parts):
    return hmac.new(key, b"".join(parts), hashlib.sha512).digest()[:32]


def shared_secret(secret, peer):
    try:
        return hpke.x25519(secret, peer)
    except Refusal:
        raise Refusal("ERR_LOGIN", detail="a key of low order") from None


# --- Login ------------------------------------------------------------------------------------------------------------


def hello(nonce, ephemeral, host):
    return bytes([HELLO, 1, 1]) + nonce + ephemeral + bytes([len(host)]) + host.encode()


def parse_challenge(frame):
    """(nonce, ephemeral, signature, certificate)"""
    if len(frame) < 130 or frame[0] != CHALLENGE:
        raise malformed("challenge")
    return frame[1:33], frame[33:65], frame[65:129], frame[129:]


def transcript(host, relay_key, nonces, ephemerals):
    return encode(
        {
            "v": 1, "subprotocol": "valise.v1", "suite": 1, "host": host, "relayKey": relay_key,
            "nonceClient": nonces[0], "nonceRelay": nonces[1],
            "ephemeralClient": ephemerals[0], "ephemeralRelay": ephemerals[1],
        }
    )  # fmt: skip


def proof(realm, said, device, seed):
    return bytes([PROOF]) + device + signing.sign_statement(realm, "login-device", said, seed)


def session_keys(shared, said, device):
    return mac(shared, tagged_hash("up", said, device)), mac(shared, tagged_hash("down", said, device))


# --- Frames -----------------------------------------------------------------------------------------------------------


def frame_mac(key, type, counter, fields):
    """In submit and envelope the envelope's hash stands for it."""
    before = {SUBMIT: 48, ENVELOPE: 16}.get(type)
    said = fields if before is None else fields[:before] + sha3(fields[before:])
    return mac(key, bytes([type]), u64(counter), said)


def build_frame(key, type, counter, fields):
    return bytes([type]) + u64(counter) + frame_mac(key, type, counter, fields) + fields


def open_frame(key, counter, frame):
    """(type, fields) of a frame whose counter and MAC are right."""
    if len(frame) < 41:
        raise malformed("frame")
    type, fields = frame[0], frame[41:]
    expected = frame_mac(key, type, counter, fields)
    if int.from_bytes(frame[1:9], "big") != counter or not hmac.compare_digest(frame[9:41], expected):
        raise Refusal("ERR_FRAME_AUTHENTICATION")
    return type, fields


class Fields:
    """Reads a frame's fields one after the other."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def bytes(self, n):
        if self.at + n > len(self.data):
            raise malformed("frame too short")
        self.at += n
        return self.data[self.at - n : self.at]

    def number(self, size):
        n = int.from_bytes(self.bytes(size), "big")
        NUMBER(n)
        return n

    def rest(self):
        return self.bytes(len(self.data) - self.at)

    def end(self):
        if self.at != len(self.data):
            raise malformed("frame too long")


def _cbor(data, fields, optional=None):
    value = decode(data)
    mapping(fields, optional, closed=False)(value)
    return value


def parse_welcome(fields):
    numbers = {name: NUMBER for name in ("timeSeconds", "credits", "oneTimePrekeys", "logSize")}
    return _cbor(fields, numbers, {"tlsCertificateHash": bytes_of(32)})


def parse_accepted(fields):
    """(batch, [(about, index, minute, path)])"""
    read = Fields(fields)
    batch = {"bytes": read.bytes(read.number(2)), "signature": read.bytes(64)}
    items = []
    for _ in range(read.number(2)):
        about, index, minute, hashes = read.number(8), read.number(4), read.number(8), read.number(1)
        if hashes > 16:
            raise malformed("path of a receipt")
        items.append((about, index, minute, [read.bytes(32) for _ in range(hashes)]))
    read.end()
    if not items:
        raise malformed("accepted without receipts")
    return batch, items


def parse_envelope(fields):
    """(sequence, minute, envelope)"""
    read = Fields(fields)
    return read.number(8), read.number(8), read.rest()


def parse_prekeys(fields):
    """(about, signed or None)"""
    read = Fields(fields)
    about, rest = read.number(8), read.rest()
    return about, _cbor(rest, {"bytes": bytes_of(), "signature": bytes_of(64)}) if rest else None


def parse_log(fields):
    """(about, checkpoint, entries)"""
    read = Fields(fields)
    about = read.number(8)
    answer = _cbor(read.rest(), {"checkpoint": bytes_of(), "entries": array(bytes_of())})
    return about, answer["checkpoint"], answer["entries"]


def parse_notice(fields):
    return _cbor(fields, {"kind": text()}, {"about": NUMBER, "count": NUMBER, "retryAfterSeconds": NUMBER})


def parse_error(fields):
    """(about, code, retry after seconds)"""
    read = Fields(fields)
    found = read.number(8), read.number(2), read.number(4)
    read.end()
    return found


def publish_fields(incarnation, reset, rotating, one_time):
    body = {"incarnation": incarnation, "reset": reset, "oneTime": one_time}
    return encode({**body, "rotating": rotating} if rotating else body)


PUBLICATION = ({"incarnation": bytes_of(16), "oneTime": array(SIGNED, most=16)}, {"rotating": SIGNED})


def collected_fields(sequences):
    return u16(len(sequences)) + b"".join(struct.pack(">Q", sequence) for sequence in sequences)


# --- The connection itself --------------------------------------------------------------------------------------------


class Connection:
    """Logs in at once; afterwards frames go out with send() and come in with receive()."""

    def __init__(self, url, realm, host, relay_key, device, seed, timeout=10):
        """`relay_key`: the key, or a function that judges the challenge's certificate and gives it."""
        import websocket

        self._socket = websocket.create_connection(
            url, timeout=timeout, subprotocols=["valise.v1"], suppress_origin=True, redirect_limit=0
        )
        if self._socket.getsubprotocol() != "valise.v1":
            raise Refusal("ERR_PROTOCOL", detail="subprotocol")
        nonce, secret = os.urandom(32), os.urandom(32)
        ephemeral = hpke.x25519_public(secret)
        self._socket.send_binary(hello(nonce, ephemeral, host))
        nonce_relay, ephemeral_relay, signature, certificate = parse_challenge(self._read())
        key = relay_key(certificate) if callable(relay_key) else relay_key
        said = transcript(host, key, (nonce, nonce_relay), (ephemeral, ephemeral_relay))
        signing.check_statement(realm, "login-relay", said, key, signature)
        self._up, self._down = session_keys(shared_secret(secret, ephemeral_relay), said, device)
        self._sent = self._received = 0
        self._socket.send_binary(proof(realm, said, device, seed))
        type, fields = self.receive()
        if type != WELCOME:
            raise Refusal("ERR_PROTOCOL", detail="no welcome")
        self.welcome = parse_welcome(fields)

    def _read(self):
        opcode, data = self._socket.recv_data()
        if opcode == 8:
            code = int.from_bytes(data[:2], "big")
            raise Refusal("closed", detail=f"{code} {data[2:].decode(errors='replace')}")
        if opcode != 2:
            raise Refusal("ERR_PROTOCOL", detail="not a binary message")
        return data

    def send(self, type, fields=b""):
        """Gives the frame's counter, by which an answer names it."""
        self._sent += 1
        self._socket.send_binary(build_frame(self._up, type, self._sent, fields))
        return self._sent

    def receive(self, timeout=None):
        """The next frame, (type, fields)."""
        if timeout is not None:
            self._socket.settimeout(timeout)
        self._received += 1
        try:
            return open_frame(self._down, self._received, self._read())
        except BaseException:
            self._received -= 1
            raise

    def close(self):
        try:
            self.send(BYE)
            while True:
                self.receive(5)
        except Exception:
            self._socket.close()
