"""A verifier of C2SP tlog-proofs, written from the C2SP pages and proto/verify/tlog.md alone.

It imports nothing of this product. As a script: PROOF POLICY DOCUMENT; exit status 0 if verified.
"""

from __future__ import annotations

import base64
import hashlib
import sys
from pathlib import Path
from typing import TypeAlias

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519

Vkey: TypeAlias = tuple[str, bytes]
"""A name, and a type with a key."""
Group: TypeAlias = tuple[str, tuple[int, list[str]]]
"""A name, how many of it are enough, and its members."""


def verify(proof: str, policy: str, document: bytes) -> str:
    """Return why the proof does not hold, or nothing."""
    head, body, signed = proof.split("\n\n")
    first, extra, index, *path = head.split("\n")
    if first != "c2sp.org/tlog-proof@v1":
        return "no tlog-proof"
    entry = base64.b64decode(extra.removeprefix("extra "))
    digest_id, digest = cbor2.loads(entry)[7][:2]
    if digest_id != 1 or digest != hashlib.sha256(document).digest():
        return "another document"
    origin, size, root = body.split("\n")
    if not included(entry, int(index.removeprefix("index ")), int(size), path, root):
        return "not in the log"
    text = f"{body}\n"
    lines = [
        line.removeprefix("\u2014 ").split(" ") for line in signed.removesuffix("\n").split("\n")
    ]
    logs, witnesses, groups, quorum = read_policy(policy)
    if not any(is_signed(vkey, lines, text) for vkey in logs if vkey[0] == origin):
        return "no log signed"
    holds = {name for name, vkey in witnesses.items() if is_signed(vkey, lines, text)}
    for name, (threshold, members) in groups:
        if len(holds & set(members)) >= threshold:
            holds.add(name)
    return "" if quorum in holds else "no quorum"


def included(entry: bytes, index: int, size: int, path: list[str], root: str) -> bool:
    """RFC 9162 section 2.1.3.2."""
    node, last = hashlib.sha256(b"\x00" + entry).digest(), size - 1
    if index > last:
        return False
    for line in path:
        sibling = base64.b64decode(line)
        if not last:
            return False
        if index % 2 or index == last:
            node = hashlib.sha256(b"\x01" + sibling + node).digest()
            while index % 2 == 0 and index:
                index, last = index // 2, last // 2
        else:
            node = hashlib.sha256(b"\x01" + node + sibling).digest()
        index, last = index // 2, last // 2
    return last == 0 and node == base64.b64decode(root)


def read_policy(policy: str) -> tuple[list[Vkey], dict[str, Vkey], list[Group], str]:
    """Return the logs, the witnesses, the groups and the quorum of a policy."""
    logs: list[Vkey] = []
    witnesses: dict[str, Vkey] = {}
    groups: list[Group] = []
    quorum = ""
    for line in policy.split("\n"):
        match line.split():
            case ["log", vkey]:
                logs.append(read_vkey(vkey))
            case ["witness", name, vkey]:
                witnesses[name] = read_vkey(vkey)
            case ["group", name, threshold, *members]:
                groups.append((name, (int(threshold), members)))
            case ["quorum", name]:
                quorum = name
    return logs, witnesses, groups, quorum


def read_vkey(vkey: str) -> Vkey:
    """Return the name, and the type with the key."""
    name, _, typed = vkey.split("+", 2)
    return name, base64.b64decode(typed)


def is_signed(vkey: Vkey, lines: list[list[str]], text: str) -> bool:
    """Tell whether a line of this key is there and verifies."""
    name, typed = vkey
    key_id = hashlib.sha256(name.encode() + b"\n" + typed).digest()[:4]
    for said, encoded in lines:
        data = base64.b64decode(encoded)
        if said != name or data[:4] != key_id:
            continue
        signature, message = data[4:], text.encode()
        if typed[0] == 4:
            time, signature = int.from_bytes(data[4:12], "big"), data[12:]
            message = f"cosignature/v1\ntime {time}\n{text}".encode()
        try:
            ed25519.Ed25519PublicKey.from_public_bytes(typed[1:]).verify(signature, message)
        except InvalidSignature:
            return False
        return True
    return False


if __name__ == "__main__":
    proof, policy = (Path(name).read_text(encoding="utf-8") for name in sys.argv[1:3])
    failure = verify(proof, policy, Path(sys.argv[3]).read_bytes())
    sys.exit(failure or 0)
