"""The papers about consent (SPEC "Consent"): their shapes and rules of form."""
from . import envelope
from .encoding import (
    HASH, SECONDS, address, array, bytes_of, malformed, mapping, open_structure, tagged_hash, text,
)  # fmt: skip

TLP = ("RED", "AMBER+STRICT", "AMBER", "GREEN", "CLEAR")
WORDS = text(most=1000)
ID = {"requestId": bytes_of(16)}
SCOPE = {
    **ID,
    "messageId": bytes_of(16),
    "header": HASH,
    "leaves": array(mapping({"name": envelope.NAME, "hash": HASH}), least=2, most=64),
    "sender": address,
    "forwarder": address,
    "thirdParty": address,
    "purpose": WORDS,
    "tlp": text(one_of=TLP),
}
LIFE = {"nbf": SECONDS, "exp": SECONDS}
SHAPES = {
    "request": ({**SCOPE, "content": HASH}, {}),
    "consent": ({**SCOPE, **LIFE}, {}),
    "attestation": ({**SCOPE, **LIFE, "consents": array(mapping({"poc": address, "digest": HASH}), most=512)}, {}),
    "forward": (
        {**ID, "leaves": array(mapping({"name": envelope.NAME, "salt": HASH, "value": bytes_of()}), least=2, most=64)},
        {},
    ),
    "refusal": (ID, {"reason": WORDS}),
    "withdrawal": (ID, {}),
    "useReceipt": ({**ID, "time": SECONDS}, {}),
}
LONGEST = {"consent": 1_209_600, "attestation": 31_622_400}


def _ascending(names):
    encoded = [name.encode() for name in names]
    if any(a >= b for a, b in zip(encoded, encoded[1:])):
        raise malformed("not strictly ascending")


def parse(kind, data):
    fields, optional = SHAPES[kind]
    paper = open_structure(data, fields, optional)
    if "sender" in fields:
        names = [leaf["name"] for leaf in paper["leaves"]]
        _ascending(names)
        if "involved" not in names or len({paper["sender"], paper["forwarder"], paper["thirdParty"]}) != 3:
            raise malformed("scope")
    if kind in LONGEST and not 0 <= paper["exp"] - paper["nbf"] <= LONGEST[kind]:
        raise malformed("life")
    if kind == "attestation":
        pocs = [consent["poc"] for consent in paper["consents"]]
        _ascending(pocs)
        if paper["sender"] in pocs:
            raise malformed("the sender's own consent")
    if kind == "forward" and len({leaf["name"] for leaf in paper["leaves"]}) != len(paper["leaves"]):
        raise malformed("a leaf twice")
    return paper


def scope(paper):
    """What two papers of the same scope have in common, with fields that are not known here."""
    return {name: value for name, value in paper.items() if name not in ("nbf", "exp", "consents")}


def digest(data):
    return tagged_hash("statement", data)
