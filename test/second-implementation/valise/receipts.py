"""The three receipts (SPEC "Receipts")."""
from . import signing, tree
from .encoding import (
    HASH, HOST, KIND, SECONDS, SIGNED, Refusal, address, array, bytes_of, integer, mapping, open_structure, tagged_hash,
    text, u64,
)  # fmt: skip

CLAUSE = "receipt does not indicate concurrence"
COMMON = {"poc": address, "messageId": bytes_of(16), "header": HASH, "content": HASH, "time": SECONDS}
DEVICE = {**COMMON, "device": HASH, "digest": HASH, "kind": KIND}
OFFICER = {**COMMON, "officer": HASH, "clause": text(one_of=(CLAUSE,))}
MINUTE = integer(0, 2**40 // 60)
RELAY_RECEIPT = mapping(
    {"relay": HOST, "batch": SIGNED, "index": integer(0, 65535), "path": array(HASH, most=16), "minute": MINUTE}
)


def parse(kind, data):
    return open_structure(data, DEVICE if kind == "device-receipt" else OFFICER)


def check(realm, kind, data, signature, key):
    """A device's or officer's receipt under the key that the manifest of its PoC lists; gives its map."""
    signing.check_statement(realm, kind, data, key, signature)
    receipt = parse(kind, data)
    make, name = (signing.device_id, "device") if kind == "device-receipt" else (signing.officer_id, "officer")
    if receipt[name] != make(receipt["poc"], key):
        raise Refusal("ERR_UNTRUSTED", detail="an id that is not its key's")
    return receipt


def accepted_leaf(blind, digest, mailbox, minute):
    return tagged_hash("accepted", blind, digest, mailbox, u64(minute))


def check_relay(realm, receipt, key, blind, digest, mailbox):
    """A relay's receipt for one submission, under the key that the log lists for receipt["relay"]."""
    RELAY_RECEIPT(receipt)
    batch = receipt["batch"]
    signing.check_statement(realm, "relay-receipt", batch["bytes"], key, batch["signature"])
    said = open_structure(batch["bytes"], {"relay": HOST, "root": HASH, "size": integer(1, 65536)})
    if said["relay"] != receipt["relay"]:
        raise Refusal("ERR_UNTRUSTED", detail="another relay's batch")
    leaf = accepted_leaf(blind, digest, mailbox, receipt["minute"])
    tree.check_inclusion(leaf, receipt["index"], said["size"], receipt["path"], said["root"])
