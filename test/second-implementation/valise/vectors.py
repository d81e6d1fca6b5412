"""Checks every vector file of SPEC: each function takes one and makes all of it anew, or raises AssertionError."""
import json
import os

from . import certificates, connection, directory, envelope, hpke, log, papers, receipts, signing, tree
from .encoding import Refusal, decode, encode, sha3, tagged_hash, u64

h = bytes.fromhex


def same(made, given, what):
    made = made.hex() if isinstance(made, bytes) else made
    assert made == given, f"{what}: {made} is not {given}"


def realm_of(vectors):
    return signing.Realm(vectors["realm"]["origin"], vectors["realm"]["mode"])


def refuses(what, action, *arguments):
    try:
        action(*arguments)
    except Refusal:
        return
    raise AssertionError(f"not refused: {what}")


def shown(value):
    """A decoded value as the vectors show it: bytes in hexadecimal."""
    if isinstance(value, dict):
        return {name: shown(item) for name, item in value.items()}
    if isinstance(value, list):
        return [shown(item) for item in value]
    return value.hex() if isinstance(value, bytes) else value


def flipped(data, at=-1):
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def tagged_hash_file(v):
    for case in v["cases"]:
        same(tagged_hash(case["label"], *map(h, case["parts"])), case["hash"], case["label"])


def padding_file(v):
    for case in v["lengths"]:
        same(envelope.padded_length(case["length"]), case["padded"], case["length"])
    same(envelope.padded_lengths(), v["paddedLengths"], "lengths")
    same([1202 + length for length in v["paddedLengths"]], v["wireSizes"], "wire sizes")
    same(envelope.pad(h(v["body"])), v["padded"], "padded")
    same(envelope.unpad(h(v["padded"])), v["body"], "unpadded")
    refuses("non-zero padding", envelope.unpad, flipped(h(v["padded"])))


def _leaves(v, header_hash):
    key, hashes = h(v["contentKey"]), []
    for leaf in v["leaves"]:
        salt = envelope.salt(key, leaf["name"])
        same(salt, leaf["salt"], "salt")
        hashes.append(envelope.leaf_hash(salt, leaf["name"], h(leaf["value"])))
        same(hashes[-1], leaf["hash"], "leaf")
    same(tagged_hash("content", header_hash, *hashes), v["contentHash"], "C")


def leaves_file(v):
    _leaves(v, h(v["headerHash"]))


def entries_file(v):
    entries = [h(entry) for entry in v["entries"]]
    for entry in entries:
        same(encode(envelope.parse_entry(entry)), entry.hex(), "entry")
    for case in v["trees"]:
        some = entries[: case["count"]]
        same(tree.root(some), case["root"], "root")
        for index, path in enumerate(case["paths"]):
            nodes = [h(node) for node in path]
            tree.check_inclusion(some[index], index, len(some), nodes, h(case["root"]))
            refuses("a path too long", tree.check_inclusion, some[index], index, len(some), [*nodes, bytes(32)], h(case["root"]))


def prekey_file(v):
    realm, device = realm_of(v), v["device"]
    key = h(device["signingKey"])
    same(signing.public_key(h(device["seed"])), device["signingKey"], "key")
    same(signing.device_id(device["poc"], key), device["device"], "device id")
    for it in v["prekeys"]:
        same(hpke.public_key(h(it["kemSeed"])), it["publicKey"], "X-Wing key")
        same(signing.prekey_id(h(it["publicKey"])), it["prekeyId"], "prekey id")
        fields = {name: it[name] for name in ("kind", "n", "nbf", "exp")}
        fields |= {"v": 1, "suite": 1, "device": h(device["device"]), "incarnation": h(it["incarnation"])}
        data = encode({**fields, "id": signing.prekey_id(h(it["publicKey"])), "pk": h(it["publicKey"])})
        same(data, it["bytes"], "prekey")
        same(signing.statement(realm, "prekey", data), it["signedBytes"], "signed bytes")
        same(signing.sign_statement(realm, "prekey", data, h(device["seed"])), it["signature"], "signature")
        arguments = realm, data, h(it["signature"]), key, h(device["device"])
        envelope.check_prekey(*arguments, it["nbf"])
        refuses("an old prekey", envelope.check_prekey, *arguments, it["exp"] + 1)


def hpke_file(v):
    pk, seed = h(v["publicKey"]), h(v["kemSeed"])
    same(hpke.public_key(seed), v["publicKey"], "public key")
    enc, shared = hpke.encapsulate(pk, h(v["coins"]))
    same(enc, v["encapsulation"], "encapsulation")
    same(shared, v["sharedSecret"], "shared secret")
    same(hpke.decapsulate(seed, enc), v["sharedSecret"], "decapsulated")
    info = envelope.info(realm_of(v), h(v["device"]), h(v["prekeyId"]), v["kind"])
    same(info, v["info"], "info")
    context = hpke.Context(shared, info)
    same(context.export(b"commit", 32), v["commitment"], "commitment")
    same(context.seal(h(v["aad"]), h(v["plaintext"])), v["ciphertext"], "ciphertext")
    assert hpke.decapsulate(seed, flipped(enc, 0)) != shared


def envelope_file(v):
    """Every intermediate value, then the opening itself, and its refusal with a byte changed."""
    realm, sender, officer = realm_of(v), v["sender"], v["officer"]
    header = h(v["header"])
    parsed = envelope.parse_header(header)
    same(encode(parsed), v["header"], "header")
    for name in ("messageId", "created", "expires", "recipientsRoot"):
        same(shown(parsed[name]), v[name], name)
    same(envelope.header_hash(header), v["headerHash"], "header hash")
    same(signing.statement(realm, "header", header), v["signedBytes"], "signed bytes")
    same(signing.sign_statement(realm, "header", header, h(sender["seed"])), v["signature"], "signature")
    same(signing.sign_statement(realm, "release", header, h(officer["seed"])), v["release"], "release")
    same(signing.device_id(sender["poc"], h(sender["signingKey"])), sender["device"], "device id")
    same(signing.officer_id(sender["poc"], h(officer["publicKey"])), officer["officer"], "officer id")
    same(tagged_hash("statement", h(v["checkpoint"])), v["checkpointHash"], "checkpoint")
    _leaves(v, h(v["headerHash"]))
    entries = {it["index"]: h(it["entry"]) for it in v["recipients"]}
    by_lot = sorted(v["recipients"], key=lambda it: it["lot"])
    same([it["index"] for it in by_lot], list(range(len(by_lot))), "order by lot")
    same(tree.root([entries[i] for i in sorted(entries)]), v["recipientsRoot"], "recipientsRoot")

    def judge(header, note):
        assert header["sender"]["device"].hex() == sender["device"]
        return h(sender["signingKey"]), h(officer["publicKey"]), []

    for it in v["recipients"]:
        entry = envelope.parse_entry(h(it["entry"]))
        same(shown(entry["pairSequence"]), it["pairSequence"], "pairSequence")
        same(signing.device_id(it["poc"], h(it["signingKey"])), it["device"], "device id")
        same(signing.public_key(h(it["seed"])), it["signingKey"], "key")
        payload = decode(h(it["payload"]))
        same((payload["index"], shown(payload["path"])), (it["index"], it["path"]), "place")
        same(signing.mailbox_id(h(it["device"]), it["relay"]), it["mailbox"], "mailbox")
        enc, shared = hpke.encapsulate(h(it["publicKey"]), h(it["coins"]))
        same(enc, it["encapsulation"], "encapsulation")
        same(shared, it["sharedSecret"], "shared secret")
        info = envelope.info(realm, h(it["device"]), h(it["prekeyId"]), it["kind"])
        same(info, it["info"], "info")
        context, sealed = hpke.Context(shared, info), h(it["envelope"])
        same(context.export(b"commit", 32), it["commitment"], "commitment")
        aad = b"\1\1" + h(it["mailbox"] + it["prekeyId"] + it["commitment"]) + enc
        same(aad + context.seal(aad, envelope.pad(h(it["payload"]))), it["envelope"], "envelope")
        same(sha3(sealed), it["digest"], "digest")
        prekey = envelope.Prekey(h(it["kemSeed"]), it["kind"])
        rest = realm, it["poc"], h(it["device"]), [prekey], judge, v["created"]
        opened = envelope.open_envelope(sealed, *rest)
        same(opened.content, v["contentHash"], "C")
        same([(name, value.hex()) for name, value in opened.leaves], [(x["name"], x["value"]) for x in v["leaves"]], "leaves")
        for at in (0, 20, 40, 100, 1000, -1):
            refuses("an altered envelope", envelope.open_envelope, flipped(sealed, at), *rest)


def statements_file(v):
    realm, keys = realm_of(v), {key["name"]: key for key in v["keys"]}
    for key in v["keys"]:
        same(signing.public_key(h(key["seed"])), key["publicKey"], "key")
    public = {name: h(key["publicKey"]) for name, key in keys.items()}

    def signed(it, label, data):
        same(signing.statement(realm, label, data), it["signed"], label)
        same(signing.sign_statement(realm, label, data, h(keys[it["key"]]["seed"])), it["signature"], label)

    for name, kind in (("device", "device-receipt"), ("officer", "officer-receipt")):
        it = v["receipts"][name]
        data = h(it["bytes"])
        signed(it, kind, data)
        receipts.check(realm, kind, data, h(it["signature"]), public[it["key"]])
        same(encode(receipts.parse(kind, data)), it["bytes"], kind)
        same(shown(decode(data)), it["fields"], kind)
    for it in v["relayReceipts"]:
        signed(it, "relay-receipt", h(it["bytes"]))
        leaves = []
        for index, item in enumerate(it["items"]):
            submission = h(item["blind"]), h(item["digest"]), h(item["mailbox"])
            leaves.append(receipts.accepted_leaf(*submission, item["minute"]))
            same(leaves[-1], item["leaf"], "leaf")
            receipt = {
                "relay": it["relay"], "batch": {"bytes": h(it["bytes"]), "signature": h(it["signature"])},
                "index": index, "path": [h(node) for node in item["path"]], "minute": item["minute"],
            }  # fmt: skip
            receipts.check_relay(realm, receipt, public[it["key"]], *submission)
            later = {**receipt, "minute": receipt["minute"] + 1}
            refuses("another minute", receipts.check_relay, realm, later, public[it["key"]], *submission)
        same(tree.root(leaves), it["root"], "root")
    consent = v["consent"]
    for kind in papers.SHAPES:
        same(encode(papers.parse(kind, h(consent[kind]["bytes"]))), consent[kind]["bytes"], kind)
        same(shown(decode(h(consent[kind]["bytes"]))), consent[kind]["fields"], kind)
    signed(consent["consent"], "consent", h(consent["consent"]["bytes"]))
    same(papers.digest(h(consent["consent"]["bytes"])), consent["consent"]["digest"], "digest")
    agreed, attested = (papers.parse(kind, h(consent[kind]["bytes"])) for kind in ("consent", "attestation"))
    same(encode(papers.scope(agreed)).hex(), encode(papers.scope(attested)).hex(), "scope")
    for leaf in consent["leaves"]:
        salt = envelope.salt(h(consent["contentKey"]), leaf["name"])
        same(envelope.leaf_hash(salt, leaf["name"], h(leaf["value"])), leaf["hash"], "leaf")
    manifests = v["manifests"]
    before = None
    for it in manifests["versions"]:
        data = h(it["bytes"])
        signed({**it, "key": manifests["key"]}, "manifest", data)
        poc, key = it["fields"]["poc"], public[manifests["key"]]
        manifest = directory.check_manifest(realm, data, h(it["signature"]), poc, key)
        same(tagged_hash("statement", data), it["hash"], "hash")
        same(shown(manifest), it["fields"], "manifest")
        same(manifest["previous"] and manifest["previous"].hex(), before, "previous")
        before = it["hash"]
    co = manifests["coSignature"]
    device = next(x for x in manifest["devices"] if x["device"].hex() == co["device"])
    assert signing.statement_verifies(realm, "manifest", data, device["key"], h(co["signature"]))
    first = v["manifests"]["versions"][0]["fields"]
    member = encode({"v": 1, "poc": first["poc"], "key": h(first["devices"][0]["key"])})
    same(member, manifests["memberStatement"], "member statement")


def connection_file(v):
    realm, s, device = realm_of(v), v["secrets"], h(v["device"])
    secrets = {name: h(value) for name, value in s.items()}
    same(signing.device_id(v["poc"], h(v["deviceKey"])), v["device"], "device id")
    same(signing.public_key(secrets["relay"]), v["relayKey"], "relay's key")
    ephemerals = [hpke.x25519_public(secrets[name]) for name in ("ephemeralClient", "ephemeralRelay")]
    same(connection.hello(secrets["nonceClient"], ephemerals[0], v["host"]), v["hello"], "hello")
    nonce, ephemeral, signature, certificate = connection.parse_challenge(h(v["challenge"]))
    same(nonce, s["nonceRelay"], "nonce")
    same(ephemeral, ephemerals[1].hex(), "ephemeral")
    same(certificate, v["certificate"], "certificate")
    said = connection.transcript(v["host"], h(v["relayKey"]), (secrets["nonceClient"], nonce), ephemerals)
    same(said, v["transcript"], "transcript")
    signing.check_statement(realm, "login-relay", said, h(v["relayKey"]), signature)
    same(connection.proof(realm, said, device, secrets["device"]), v["proof"], "proof")
    shared = connection.shared_secret(secrets["ephemeralClient"], ephemeral)
    same(shared, v["sharedSecret"], "shared secret")
    up, down = connection.session_keys(shared, said, device)
    same(up, v["keyUp"], "key up")
    same(down, v["keyDown"], "key down")
    parsers = {
        "welcome": connection.parse_welcome, "accepted": connection.parse_accepted, "envelope": connection.parse_envelope,
        "prekeys": connection.parse_prekeys, "log": connection.parse_log, "notice": connection.parse_notice,
        "error": connection.parse_error,
    }  # fmt: skip
    names = {"submit": 3, "collected": 4, "fetch-prekeys": 5, "publish-prekeys": 6, "sync-log": 7, "bye": 8}
    for key, frames in ((down, v["down"]), (up, v["up"])):
        for it in frames:
            type, fields = connection.open_frame(key, it["counter"], h(it["frame"]))
            same(fields, it["fields"], it["name"])
            same(connection.frame_mac(key, type, it["counter"], fields), it["mac"], it["name"])
            same(connection.build_frame(key, type, it["counter"], fields), it["frame"], it["name"])
            refuses("another counter", connection.open_frame, key, it["counter"] + 1, h(it["frame"]))
            refuses("an altered frame", connection.open_frame, key, it["counter"], flipped(h(it["frame"])))
            if it["name"] in parsers:
                parsers[it["name"]](fields)
            else:
                same(type, names[it["name"]], "type")
    same(connection.collected_fields([1, 258]), v["up"][1]["fields"], "collected")
    published = decode(h(v["up"][3]["fields"]))
    made = connection.publish_fields(*(published.get(name) for name in ("incarnation", "reset", "rotating", "oneTime")))
    same(made, v["up"][3]["fields"], "publish-prekeys")
    same(u64(65537), v["up"][4]["fields"], "sync-log")


def log_file(v):
    leaves, roots = [h(leaf) for leaf in v["leaves"]], [h(root) for root in v["roots"]]
    for key in v["keys"]:
        parsed = log.Key.parse(key["vkey"])
        same(parsed.text(), key["vkey"], "verifier key")
        same(parsed.id, key["id"], "key id")
        same((parsed.name, parsed.type), (key["name"], {"ed25519": 1, "cosignature": 4}[key["type"]]), "name and type")
        same(signing.public_key(h(key["seed"])), key["publicKey"], "key")
    for size, root in enumerate(roots):
        same(tree.root(leaves[:size], tree.sha256), root.hex(), "root")
    for it in v["inclusion"]:
        proof = [h(node) for node in it["proof"]]
        arguments = leaves[it["index"]], it["index"], it["size"]
        tree.check_inclusion(*arguments, proof, roots[it["size"]], tree.sha256)
        refuses("a hash left over", tree.check_inclusion, *arguments, [*proof, bytes(32)], roots[it["size"]], tree.sha256)
    for it in v["consistency"]:
        proof = [h(node) for node in it["proof"]]
        arguments = it["from"], it["to"], roots[it["from"]], roots[it["to"]]
        tree.check_consistency(*arguments, proof)
        refuses("a hash left over", tree.check_consistency, *arguments, [*proof, bytes(32)])
    key, now = log.Key.parse(v["keys"][0]["vkey"]), v["nowSeconds"]
    none, witnessed = log.Policy("quorum none\n"), log.Policy(v["witnessed"]["policy"])
    note = v["checkpoint"]["note"].encode()
    checkpoint = log.open_checkpoint(note, key, none, now, fresh=True)
    same((checkpoint.size, checkpoint.root.hex()), (11, roots[11].hex()), "checkpoint")
    text, lines = log.parse_note(note)
    same(text, v["checkpoint"]["text"], "text")
    same([line[2].hex() for line in lines], [v["checkpoint"][name] for name in ("signature", "cosignature")], "signatures")
    same(log.cosigned_text(now, text).decode(), v["checkpoint"]["cosignedMessage"], "cosigned text")
    note_witnessed = v["witnessed"]["note"].encode()
    same(log.open_checkpoint(note_witnessed, key, witnessed, now).cosigned_at, v["witnessed"]["cosignedAt"], "cosignedAt")
    refuses("no witnesses", log.open_checkpoint, note, key, witnessed, now)
    refuses("an old checkpoint", log.open_checkpoint, note, key, none, now + 259_201, True)
    refuses("an altered checkpoint", log.open_checkpoint, note.replace(b"\n11\n", b"\n12\n"), key, none, now)
    for it in v["tilePaths"]:
        same(log.tile_path(it["level"], it["index"], it["width"]), it["path"], "path")
    for it in v["newTiles"]:
        same(_ends_of_rows(it["before"], it["size"]), it["paths"], "new tiles")
    bundle = v["bundle"]
    same([x.hex() for x in log.bundle_entries(h(bundle["bytes"]), 3)], bundle["entries"], "bundle")


def _ends_of_rows(before, size):
    """The first and the last file of each row that an append writes."""
    rows = [("entries", before, size)]
    while size:
        rows.append((len(rows) - 1, before, size))
        before, size = before // 256, size // 256
    paths = []
    for level, old, new in rows:
        ends = dict.fromkeys((old // 256, (new - 1) // 256))
        paths += [log.tile_path(level, index, min(256, new - 256 * index)) for index in ends]
    return paths


def pki_file(v):
    trust = directory.Trust(v["trustFile"])
    realm = trust.realm
    chain = {"root": trust.root}
    for it in v["certificates"]:
        certificate = _certificate(realm, chain, it["level"], h(it["der"]), it.get("subject"), it["notBefore"])
        same(certificate.hash, it["hash"], "hash")
        same(certificate.key, it["publicKey"], "key")
        same(certificate.serial, it["serial"], "serial")
        same((certificate.not_before, certificate.not_after), (it["notBefore"], it["notAfter"]), "life")
        same(certificate.organisation, it["organisation"], "organisation")
        if it["level"] != "leaf":
            chain[it["level"]] = certificate
            continue
        subject = certificates.Subject(realm, it["subject"]["use"], _subject(it["subject"]))
        same(subject.uri, it["uri"], "URI")
        value = subject.uri if subject.member_label == "subject" else _subject(it["subject"])
        member = encode({"v": 1, subject.member_label: value, "key": certificate.key})
        assert signing.statement_verifies(realm, "member", member, certificate.key, h(it["member"])), "member"
    poc = {"use": "poc", "poc": {"state": "ke", "role": "technical", "agency": "baobab"}}
    for it in v["refusedCertificates"]:
        try:
            _certificate(realm, chain, it["level"], h(it["der"]), it.get("subject", poc), it["atSeconds"])
            reason = None
        except Refusal as refusal:
            reason = refusal.reason.removeprefix("certificate:")
        same(reason, it["reason"], it["what"])
    replayed, roots, leaves = directory.Directory(trust), v["log"]["roots"], []
    for it in v["log"]["entries"]:
        leaves.append(h(it["leaf"]))
        same(replayed.add(leaves[-1]), it.get("reason"), it["what"])
        same(tree.root(leaves, tree.sha256), roots[len(leaves)], "root")
    _state(v["state"], replayed)
    for number, it in enumerate(v["judgements"]):
        sender = {name: it[name] if name == "poc" else h(it[name]) for name in ("poc", "device", "officer") if name in it}
        try:
            _, _, banners = replayed.judge(sender, it["created"], it["cited"], it["now"])
            judged = True, None, banners
        except Refusal as refusal:
            judged = False, refusal.reason, None
        same(judged, (it["ok"], it.get("reason"), it.get("banners")), f"judgement {number}")


def _subject(it):
    return it.get("host") if "host" in it else it.get("poc") and "/".join(it["poc"].values())


def _certificate(realm, chain, level, der, subject, now):
    if level == "root":
        return certificates.check_root(realm, der)
    if level == "ca":
        return certificates.check_ca(realm, der, chain["root"], now)
    return certificates.check_leaf(realm, der, chain["ca"], certificates.Subject(realm, subject["use"], _subject(subject)), now)


def _state(given, replayed):
    now = given["atSeconds"]
    same(replayed.size, given["size"], "size")
    same([{"index": i, "reason": reason} for i, reason in replayed.refused], given["refused"], "refused")
    pocs = []
    for poc in replayed.pocs.values():
        current, manifests = replayed.current(poc), replayed.manifests(poc)
        usable = replayed.usable(poc, now)
        pocs.append(
            {
                "address": poc.address, "organisation": current.certificate.organisation,
                "key": current.certificate.key.hex(), "notAfter": current.certificate.not_after,
                "isDefault": poc.is_default, "certificateIndex": current.index,
                "manifestIndex": manifests[-1].index if manifests else None,
                "usable": [{"device": it["device"].hex(), "usableFrom": since} for it, since in usable],
            }
        )  # fmt: skip
    same(pocs, given["pocs"], "PoCs")
    relays = [
        {"host": host, "urls": record.urls, "key": record.certificate.key.hex()}
        for host in replayed.relays
        if (record := replayed.relay(host, now))
    ]
    same(relays, given["relays"], "relays")


FILES = {
    "tagged-hash": tagged_hash_file, "padding": padding_file, "leaves": leaves_file, "entries": entries_file,
    "prekey": prekey_file, "hpke": hpke_file, "envelope": envelope_file, "envelope-deflated": envelope_file,
    "statements": statements_file, "connection": connection_file, "log": log_file, "pki": pki_file,
}  # fmt: skip


def check_folder(folder):
    """Names of the files that were checked; a file that this program does not know is an error."""
    names = sorted(name.removesuffix(".json") for name in os.listdir(folder) if name.endswith(".json"))
    assert set(names) == set(FILES), f"vector files: {names}"
    for name in names:
        with open(os.path.join(folder, name + ".json"), encoding="utf-8") as file:
            try:
                FILES[name](json.load(file))
            except AssertionError as error:
                raise AssertionError(f"{name}: {error}") from None
    return names
