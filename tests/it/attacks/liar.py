"""A peer in wrong hands: answers as its mode says and keeps all it hears in /root/heard.

usage: liar.py MODE
"""

import json
import struct
import sys
import time

mode = sys.argv[1]
heard = open("/root/heard", "ab", buffering=0)
# What was asked last to be staged.
prepared = []
APPLIED, UNCHANGED = {"outcome": "applied", "notes": []}, {"outcome": "unchanged"}
source, sink = sys.stdin.buffer, sys.stdout.buffer


def say(answer, **fields):
    text = json.dumps({"answer": answer, **fields}).encode()
    sink.write(struct.pack(">I", len(text)) + text)
    sink.flush()


def hear():
    prefix = source.read(4)
    if len(prefix) < 4:
        sys.exit()
    text = source.read(struct.unpack(">I", prefix)[0])
    heard.write(text + b"\n")
    return json.loads(text)


def ended(names, outcome):
    return [{"lineage": name, "outcome": outcome} for name in names]


def flood(piece):
    while True:
        sink.write(piece)
        sink.flush()


def answer(request):
    verb = request["verb"]
    transaction = request.get("transaction")
    names = [offer["lineage"] for offer in request.get("offers", [])]
    if names:
        prepared[:] = names
    if mode == "wrong-id" and verb == "prepare":
        return say("prepared", transaction="f" * 32, apart=[])
    if mode == "applied-unasked" and verb == "prepare":
        return say("prepared", transaction=transaction, apart=ended(names, APPLIED))
    if mode == "planned-unasked" and verb == "prepare":
        return say("planned", changes=["nothing"])
    if mode == "others" and verb in ("prepare", "compare"):
        # Names, paths and versions that nobody asked for.
        version = {"number": 1, "digest": "0" * 64}
        names = ["www.site.test", "web3", "other.test"] * 2000
        return say("compared", lineages=[{"lineage": name, "presence": {"is": "here", "version": version}} for name in names])
    if mode == "paths":
        return say("compared", lineages=[{"lineage": "../../../etc/shadow", "presence": {"is": "gone"}}])
    if mode == "asks":
        text = json.dumps({"verb": "compare", "lineages": ["www.site.test"], "path": "/etc/shadow"}).encode()
        sink.write(struct.pack(">I", len(text)) + text)
        return sink.flush()
    if mode == "endless":
        text = json.dumps({"answer": "prepared", "transaction": transaction or "0" * 32, "apart": []}).encode()
        flood(struct.pack(">I", len(text)) + text)
    if mode == "garbage":
        flood(b"\xff" * 65536)
    if mode == "slow":
        sink.write(struct.pack(">I", 1000))
        while True:
            sink.write(b" ")
            sink.flush()
            time.sleep(0.1)
    if mode == "silent":
        time.sleep(600)
    if mode.startswith("together"):
        # It says so of several lineages, and refuses each alone.
        if verb == "prepare" and len(names) > 1:
            apart = {"together-foreign": ended(["other.test"], UNCHANGED), "together-applied": ended(names, APPLIED)}
            return say("prepared", transaction="f" * 32 if mode == "together-id" else transaction, apart=apart.get(mode, []))
        if verb == "commit":
            told = {"together-short": prepared[:1], "together-turned": prepared[::-1]}.get(mode, prepared)
            return say("concluded", lineages=ended(told, APPLIED))
        refused = {"outcome": "refused", "step": "policy", "cause": "not today"}
        if verb == "prepare":
            return say("prepared", transaction=transaction, apart=ended(names, refused))
        if verb == "recall":
            return say("concluded", lineages=ended(request["lineages"], refused))
    # The rest lies about itself only.
    if verb == "publish":
        failures = [{"name": "www.site.test", "cause": "\x1b[31mweb3: run rm -rf /"}] * (5000 if mode == "liar" else 0)
        return say("published", failures=failures)
    if verb == "withdraw":
        return say("withdrawn", failures=[])
    if verb == "compare":
        return say("compared", lineages=[{"lineage": name, "presence": {"is": "gone"}} for name in request["lineages"]])
    if verb == "prepare":
        return say("prepared", transaction=transaction, apart=[])
    if verb == "commit":
        if mode == "stuck":
            remedy = ["\x1b[2J`reboot`"] * 3000
            return say("concluded", lineages=ended(prepared, {"outcome": "stuck", "cause": "x" * 500000, "remedy": remedy}))
        return say("concluded", lineages=ended(prepared, {"outcome": "applied", "notes": ["y" * 1000] * 300}))
    return say("concluded", lineages=ended(prepared, UNCHANGED))


sink.write(b"\0certcast-wire 1 1\n")
sink.flush()
if mode == "endless-banner":
    flood(b"\0certcast-wire 1 1\n")
source.readline()
hello = hear()
node = "web3" if mode == "others" else "/etc/passwd" if mode == "paths" else "web2"
say("hello", version="9" * 1000, node=node, clock=2**62)
while True:
    answer(hear())
