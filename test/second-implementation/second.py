#!/usr/bin/python3
"""A second implementation of Valise, from SPEC.md and its vectors alone.

second.py vectors FOLDER                                   every vector file
second.py log FOLDER TRUST [--now S]                       a log's files: checkpoint, root, every entry by the rules
second.py proof FILE TRUST [--now S]                       inclusion and consistency (JSON, see README)
second.py receipt FILE TRUST LOG                           a relay's receipt for a submission (JSON, see README)
second.py evidence FILE [TRUST] [--now S]                  an evidence file: what it says
second.py verdicts FOLDER TRUST [--now S]                  every evidence file of a folder: verified, or why not
second.py listing --trust T --poc P --seed HEX --host H    what a manifest says of this device
second.py mail --url U --host H --trust T --log FOLDER --poc P --seed HEX --prekeys FILE
               [--publish N] [--sync] [--wait S] [--count N]

All output is JSON. Exit code 0: it holds. 4: refused, and why is on standard error. 1: anything else.
"""
import argparse
import json
import os
import sys
import time

from valise import directory, evidence, log, mail, receipts, tree, vectors
from valise.encoding import Refusal


def read(path):
    with open(path, "rb") as file:
        return file.read()


def fetch_from(folder):
    def fetch(path):
        whole = os.path.join(folder, path)
        return read(whole) if os.path.exists(whole) else None

    return fetch


def load_log(folder, trust, now):
    return log.read_log(fetch_from(folder), trust.log_key, trust.policy, now)


def run_vectors(args):
    return {"checked": vectors.check_folder(args.folder)}


def run_log(args):
    trust = directory.Trust(read(args.trust))
    checkpoint, entries = load_log(args.folder, trust, args.now)
    replayed = directory.replay(trust, entries)
    return {
        "size": checkpoint.size, "root": checkpoint.root.hex(), "cosignedAt": checkpoint.cosigned_at,
        "refused": replayed.refused, "pocs": sorted(replayed.pocs), "relays": sorted(replayed.relays),
    }  # fmt: skip


def run_proof(args):
    trust, it = directory.Trust(read(args.trust)), json.loads(read(args.file))
    new = trust.checkpoint(it["checkpoint"].encode(), args.now, fresh=True)
    result = {"size": new.size}
    if "inclusion" in it:
        part = it["inclusion"]
        path = [bytes.fromhex(node) for node in part["proof"]]
        tree.check_inclusion(bytes.fromhex(part["leaf"]), part["index"], new.size, path, new.root, tree.sha256)
        result["included"] = part["index"]
    if "consistency" in it:
        part = it["consistency"]
        old = trust.checkpoint(part["checkpoint"].encode(), args.now)
        tree.check_consistency(old.size, new.size, old.root, new.root, [bytes.fromhex(node) for node in part["proof"]])
        result["consistentFrom"] = old.size
    return result


def run_receipt(args):
    trust, it = directory.Trust(read(args.trust)), json.loads(read(args.file))
    _, entries = load_log(args.log, trust, args.now)
    relay = directory.replay(trust, entries).relay(it["relay"], args.now)
    if relay is None:
        raise Refusal("ERR_UNTRUSTED", detail="the log lists no such relay")
    batch = {name: bytes.fromhex(it["batch"][name]) for name in ("bytes", "signature")}
    receipt = {**{name: it[name] for name in ("relay", "index", "minute")}, "batch": batch}
    receipt["path"] = [bytes.fromhex(node) for node in it["path"]]
    submission = [bytes.fromhex(it[name]) for name in ("blind", "digest", "mailbox")]
    receipts.check_relay(trust.realm, receipt, relay.certificate.key, *submission)
    return {"relay": it["relay"], "minute": it["minute"]}


def run_evidence(args):
    trust = directory.Trust(read(args.trust)) if args.trust else None
    found = evidence.Evidence(read(args.file), trust, args.now)
    print(json.dumps(found.report()))
    if trust is None:
        raise Refusal("ERR_NOT_ANCHORED")


def run_verdicts(args):
    trust = directory.Trust(read(args.trust))
    return {name: verdict(os.path.join(args.folder, name), trust, args.now) for name in sorted(os.listdir(args.folder))}


def verdict(path, trust, now):
    try:
        evidence.Evidence(read(path), trust, now)
        return "verified"
    except Refusal as refusal:
        return refusal.reason


def device_of(args, trust, file):
    return mail.Device(trust.realm, args.poc, bytes.fromhex(args.seed), args.host, file)


def run_listing(args):
    return device_of(args, directory.Trust(read(args.trust)), "").listing()


def run_mail(args):
    trust = directory.Trust(read(args.trust))
    _, entries = load_log(args.log, trust, args.now)
    device = device_of(args, trust, args.prekeys)
    it = mail.Mail(args.url, trust, device, entries)
    result = {"welcome": it.connection.welcome, "opened": [], "refused": []}
    if args.publish is not None:
        result["prekeys"] = it.publish(args.publish, args.now)
    if args.sync:
        result["log"] = it.sync(args.now)
    for opened, refusal in it.collect(args.wait):
        if refusal is not None:
            result["refused"].append(refusal.reason)
        else:
            result["opened"].append(
                {
                    "sender": opened.header["sender"]["poc"], "id": opened.header["messageId"].hex(),
                    "content": opened.content.hex(), "digest": opened.digest.hex(), "kind": opened.entry["kind"],
                    "banners": opened.banners,
                    "leaves": {name: value.decode(errors="replace") for name, value in opened.leaves},
                }
            )  # fmt: skip
        if args.count is not None and len(result["opened"]) + len(result["refused"]) >= args.count:
            break
    it.connection.close()
    return result


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name, run, *positional, optional=(), required=()):
        sub = commands.add_parser(name)
        sub.set_defaults(run=run)
        sub.add_argument("--now", type=int, default=None if name in ("evidence", "verdicts") else int(time.time()))
        for argument in positional:
            sub.add_argument(argument)
        for argument in optional:
            sub.add_argument(argument, nargs="?")
        for argument in required:
            sub.add_argument(argument, required=True)
        return sub

    command("vectors", run_vectors, "folder")
    command("log", run_log, "folder", "trust")
    command("proof", run_proof, "file", "trust")
    command("receipt", run_receipt, "file", "trust", "log")
    command("evidence", run_evidence, "file", optional=["trust"])
    command("verdicts", run_verdicts, "folder", "trust")
    device = ["--trust", "--poc", "--seed", "--host"]
    command("listing", run_listing, required=device)
    post = command("mail", run_mail, required=[*device, "--url", "--log", "--prekeys"])
    post.add_argument("--publish", type=int)
    post.add_argument("--sync", action="store_true")
    post.add_argument("--wait", type=float, default=1)
    post.add_argument("--count", type=int)
    return parser.parse_args()


def main():
    args = arguments()
    try:
        result = args.run(args)
        if result is not None:
            print(json.dumps(result))
    except Refusal as refusal:
        print(refusal, file=sys.stderr)
        sys.exit(4)


if __name__ == "__main__":
    main()
