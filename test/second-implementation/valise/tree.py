"""Merkle trees of RFC 6962, over SHA3-256 (the protocol's own) or SHA-256 (the log's)."""
import hashlib

from .encoding import Refusal, sha3


def sha256(data):
    return hashlib.sha256(data).digest()


def untrusted(detail):
    return Refusal("ERR_UNTRUSTED", detail=detail)


def root(leaves, hash=sha3):
    if not leaves:
        return hash(b"")
    row = [hash(b"\x00" + leaf) for leaf in leaves]
    while len(row) > 1:
        paired = [hash(b"\x01" + row[i] + row[i + 1]) for i in range(0, len(row) - 1, 2)]
        row = paired + row[len(row) - len(row) % 2 :]
    return row[0]


def root_from_path(leaf, index, size, path, hash=sha3):
    """RFC 9162 §2.1.3.2: the root to which a leaf's path leads."""
    if not 0 <= index < size or any(len(sibling) != 32 for sibling in path):
        raise untrusted("a path of another form")
    here, last, node = index, size - 1, hash(b"\x00" + leaf)
    for sibling in path:
        if last == 0:
            raise untrusted("a path that is too long")
        if here & 1 or here == last:
            node = hash(b"\x01" + sibling + node)
            while not here & 1 and here:
                here, last = here >> 1, last >> 1
        else:
            node = hash(b"\x01" + node + sibling)
        here, last = here >> 1, last >> 1
    if last != 0:
        raise untrusted("a path that is too short")
    return node


def check_inclusion(leaf, index, size, path, expected, hash=sha3):
    if len(path) > 63 or root_from_path(leaf, index, size, path, hash) != expected:
        raise untrusted("not included in that tree")


def check_consistency(first, second, first_root, second_root, proof, hash=sha256):
    """RFC 9162 §2.1.4.2."""
    if not 0 <= first <= second or len(proof) > 63 or any(len(node) != 32 for node in proof):
        raise untrusted("a consistency proof of another form")
    if first == second or first == 0:
        if proof or (first == second and first_root != second_root) or (first == 0 and first_root != hash(b"")):
            raise untrusted("not consistent")
        return
    nodes = list(proof)
    if first & (first - 1) == 0:
        nodes.insert(0, first_root)
    if not nodes:
        raise untrusted("a consistency proof that is too short")
    here, last = first - 1, second - 1
    while here & 1:
        here, last = here >> 1, last >> 1
    old = new = nodes[0]
    for node in nodes[1:]:
        if last == 0:
            raise untrusted("a consistency proof that is too long")
        if here & 1 or here == last:
            old, new = hash(b"\x01" + node + old), hash(b"\x01" + node + new)
            while not here & 1 and here:
                here, last = here >> 1, last >> 1
        else:
            new = hash(b"\x01" + new + node)
        here, last = here >> 1, last >> 1
    if last != 0 or old != first_root or new != second_root:
        raise untrusted("not consistent")
