"""A second verifier of receipts, written from proto/RECEIPT.md and govchain.cddl alone.

It imports nothing of this product, and is as plain as the page: an oracle, not an example of style.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import Any, TypeAlias

import cbor2
from asn1crypto import cms, core, tsp
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

Value: TypeAlias = Any  # decoded CBOR, or a shape

INVISIBLE = re.compile(
    "[\u0000-\u001f\u007f-\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u2000-\u200f\u2028-\u202f"
    "\u205f-\u206f\u2800\u3000\u3164\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e00ff\U000e01f0-\U000e0fff]"
)
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

GENERATOR = bytes.fromhex(
    "97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac58"
    "6c55e83ff97a1aeffb3af00adb22c6bb"
)

# Shapes: bounds of an integer or of a size in bytes, literals, [..] = fields, ("*", ..) = a list.
UINT, DIGEST = ("uint", 0, 2**64 - 1), ("bytes", 32, 32)
ID, BOOL = ("text", 1, 64), ("bool",)
HEADER: Value = [
    ("is", 1),
    DIGEST,
    UINT,
    UINT,
    UINT,
    UINT,
    BOOL,
    DIGEST,
    ("uint", 0, 63),
    DIGEST,
    UINT,
]
HEADER += [[DIGEST], DIGEST, DIGEST, DIGEST, DIGEST]
VOTE: Value = [("uint", 0, 63), UINT, ("bytes", 64, 64)]
CERTIFICATE: Value = [("is", 1), UINT, DIGEST, ("in", 1, 2), UINT, UINT, DIGEST, ("*", 0, 64, VOTE)]
MEMBER: Value = [
    ID,
    ID,
    ("bytes", 0, 128),
    ("bytes", 32, 32),
    ("or", [("bytes", 48, 48), ("bytes", 96, 96)], ("is", None)),
]
SET: Value = [("is", 1), UINT, ("*", 1, 64, MEMBER)]
HANDOVER: Value = [HEADER, CERTIFICATE, SET]
REST: Value = [("text", 1, 32), ("or", ("text", 1, 128), ("is", None)), ("in", 0, 1, 2)]
SHORT: Value = [("or", ("uint", 0, 2), ("uint", 5, 255)), DIGEST, *REST]
LONG: Value = ("or", [("is", 3), ("bytes", 48, 48), *REST], [("is", 4), ("bytes", 64, 64), *REST])
RECORD: Value = ("or", SHORT, LONG)
LEAF: Value = [("is", 1), ("is", 1), UINT, UINT, DIGEST, ("uint", 0, 9999), ID, RECORD]
DAY, TEXT_128 = 86_400_000, ("text", 1, 128)
PARAMETERS: Value = [("is", 1), ("uint", 1, DAY), ("uint", 1, DAY), ("uint", 0, DAY)]
PARAMETERS += [("uint", 1, DAY), ("uint", 1, 4), ("uint", 10, DAY), ("uint", 10, DAY)]
PARAMETERS += [("uint", 1, 5_000), ("uint", 1_024, 4_194_304), ("uint", 1, 1_000_000)]
PARAMETERS += [("uint", 1, 1_000_000), ("uint", 20, DAY), ("uint", 10, DAY)]
ORGANISATION: Value = [ID, TEXT_128, ("bytes", 0, 8_192)]
IDENTITY: Value = [ID, ID, ("uint", 1, 5), ("bytes", 0, 128), UINT, UINT]
GENESIS: Value = [("is", 1), ("is", 1), TEXT_128, UINT, BOOL, PARAMETERS]
GENESIS += [("*", 0, 1_024, ORGANISATION), SET, ("*", 0, 4_096, IDENTITY)]
RECEIPT: Value = [
    ("is", 1),
    DIGEST,
    ("is", 1),
    ("bytes", 0, 1024),
    UINT,
    ("*", 0, 64, DIGEST),
    HEADER,
]
COSE: Value = [("bytes", 33, 33), ("bytes", 64, 64)]
TOKEN: Value = ("or", ("bytes", 0, 16_384), ("is", None))
PUBLIC: Value = [("bytes", 0, 65_536), ("*", 0, 64, DIGEST)]
RECEIPT += [CERTIFICATE, ("*", 0, 1024, HANDOVER), TOKEN, ("or", COSE, ("is", None))]
RECEIPT += [("or", PUBLIC, ("is", None))]
CERTIFIED: Value = [("is", 1), UINT, UINT, DIGEST, UINT, DIGEST, DIGEST, UINT, ("bytes", 96, 96)]
RECEIPT += [("or", [("bytes", 0, 2048), CERTIFIED], ("is", None))]


class RefusedError(Exception):
    """Verification ends here."""


def need(condition: object, what: str = "") -> None:
    if not condition:
        raise RefusedError(what)


def fits(value: Value, shape: Value) -> bool:
    if isinstance(shape, list):
        return isinstance(value, list) and len(value) == len(shape) and all(map(fits, value, shape))
    match shape:
        case ("uint", least, most):
            return type(value) is int and least <= value <= most
        case ("bytes", least, most):
            return isinstance(value, bytes) and least <= len(value) <= most
        case ("text", least, most):
            sized = isinstance(value, str) and least <= len(value.encode()) <= most
            return sized and not INVISIBLE.search(value)
        case ("bool",):
            return isinstance(value, bool)
        case ("*", least, most, item):
            sized = isinstance(value, list) and least <= len(value) <= most
            return sized and all(fits(one, item) for one in value)
        case ("or", one, other):
            return fits(value, one) or fits(value, other)
        case (_, *literals):
            return any(type(value) is type(one) and value == one for one in literals)
    raise ValueError(f"no shape: {shape}")


def items(value: Value) -> int:
    return 1 + sum(map(items, value)) if isinstance(value, list) else 1


def read(data: bytes, shape: Value) -> Value:
    """Return the value that these bytes encode, if it is of this shape."""
    try:
        value = cbor2.loads(data)
    except Exception as error:
        raise RefusedError("not CBOR") from error
    need(fits(value, shape) and cbor2.dumps(value) == data, "not the encoding of its structure")
    need(items(value) <= 262_144, "too many items")
    return value


def check_voters(certificate: Value) -> None:
    need(all(vote[0] < after[0] for vote, after in pairwise(certificate[7])), "voters")


def check_members(validators: Value) -> None:
    for at in (0, 2):
        need(len({member[at] for member in validators[2]}) == len(validators[2]), "members")
    shared = [member[4][0] for member in validators[2] if member[4] is not None]
    need(len(shared) in (0, len(validators[2])), "members")
    need(len(set(shared)) == len(shared), "members")


def read_handover(value: Value) -> Value:
    check_voters(value[1])
    check_members(value[2])
    return value


def tagged(tag: str, value: Value) -> bytes:
    return hashlib.sha256(b"govchain/v1/" + tag.encode() + b"\x00" + cbor2.dumps(value)).digest()


def check_about(certificate: Value, header: Value) -> None:
    _, epoch, _, phase, view, height, digest, _ = certificate
    need((phase, epoch, height) == (2, header[2], header[3]), "phase, epoch, height")
    need(digest == tagged("header", header) and view >= header[4], "digest, view")


def check_certified(header: Value, certificate: Value, validators: Value, chain_id: bytes) -> None:
    need(header[1] == chain_id, "chain")
    check_about(certificate, header)
    _, epoch, set_hash, phase, view, height, digest, votes = certificate
    need((epoch, set_hash) == (validators[1], tagged("validator-set", validators)), "set")
    try:
        points = [point(member[2]) for member in validators[2]]
    except ValueError as error:
        raise RefusedError("vote key") from error
    n = len(points)
    need(len(votes) >= (n + (n - 1) // 3 + 2) // 2, "quorum")
    for voter, time, signature in votes:
        need(voter < n, "voter")
        statement = cbor2.dumps([chain_id, epoch, set_hash, phase, view, height, digest, time])
        check_signature(points[voter], b"govchain/v1/vote\x00" + statement, signature)


def check_signature(key: ec.EllipticCurvePublicKey, signed: bytes, signature: bytes) -> None:
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    need(1 <= r < ORDER and 1 <= s <= ORDER // 2, "r, s")
    try:
        key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise RefusedError("signature") from error


def check_cose(cose: Value, validators: Value, chain_id: bytes, root: bytes) -> None:
    vote_key, signature = cose
    need(vote_key in [member[2] for member in validators[2]], "COSE key")
    protected = bytes.fromhex("a40126045821") + vote_key + bytes.fromhex("0fa101784f")
    protected += b"govchain:chain:" + chain_id.hex().encode() + bytes.fromhex("19018b01")
    signed = b"\x84\x6aSignature1\x58\x7f" + protected + b"\x40\x58\x20" + root
    check_signature(point(vote_key), signed, signature)


def check_compact(
    certified: Value, chain_id: bytes, validators: Value, *, bls: bool = True
) -> None:
    _, epoch, height, digest, size, root, state, signers, aggregate = certified
    members = validators[2]
    need(epoch == validators[1] and signers < 1 << len(members), "compact epoch, signers")
    chosen = [member for at, member in enumerate(members) if signers >> at & 1]
    need(len(chosen) >= (len(members) + (len(members) - 1) // 3 + 2) // 2, "compact quorum")
    need(all(member[4] is not None for member in chosen), "compact keys")
    statement = cbor2.dumps([chain_id, epoch, height, digest, size, [root], state])
    signed = b"govchain/v1/checkpoint-share\x00" + statement
    keys = [member[4][0] for member in chosen]
    need(not bls or is_aggregate(keys, signed, aggregate), "compact signature")


def is_aggregate(keys: list[bytes], signed: bytes, aggregate: bytes) -> bool:
    """FastAggregateVerify: the sum of the keys, and two pairings."""
    blst = importlib.import_module("pyblst")
    g1, g2, pair = blst.BlstP1Element, blst.BlstP2Element, blst.miller_loop
    try:
        points, signature = [g1.uncompress(key) for key in keys], g2.uncompress(aggregate)
    except ValueError:
        return False
    total = points[0]
    for each in points[1:]:
        total += each
    for given, found in [(aggregate, signature), *zip(keys, points, strict=True)]:
        if given[0] & 0x40 or found.compress() != given:
            return False
    tag = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"
    left, right = (
        pair(g1.uncompress(GENERATOR), signature),
        pair(total, g2.hash_to_group(signed, tag)),
    )
    return not total.compress()[0] & 0x40 and bool(blst.final_verify(left, right))


def point(key: bytes) -> ec.EllipticCurvePublicKey:
    need(len(key) == 33, "vote key")
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key)


def check_handover(handover: Value, validators: Value, chain_id: bytes) -> Value:
    header, certificate, next_set = handover
    check_certified(header, certificate, validators, chain_id)
    need(next_set[1] == validators[1] + 1, "next epoch")
    need(header[14] == tagged("validator-set", next_set), "next set")
    return next_set


def check_one_chain(pairs: Value, created: int) -> None:
    pairs = sorted(pairs, key=lambda pair: pair[0][3])
    for header, _ in pairs:
        need(header[5] >= created + header[3] and header[10] >= header[3], "since genesis")
    for (old, _), (new, certificate) in pairwise(pairs):
        up = new[3] - old[3]
        need(up or tagged("header", old) == tagged("header", new), "fork")
        risen = new[5] - old[5] >= up and new[10] - old[10] >= up and new[2] >= old[2]
        need(not up or risen, "time, log, epoch")
        need(up != 1 or new[7] == tagged("header", old), "parent")
        need(not up or old[14] == certificate[2], "set")


def path_root(leaf: bytes, i: int, n: int, path: list[bytes]) -> bytes:
    need(i < n, "index")
    r, last, rest = hashlib.sha256(b"\x00" + leaf).digest(), n - 1, list(path)
    while last > 0:
        if i % 2 or i < last:
            need(rest, "path too short")
            p = rest.pop(0)
            r = hashlib.sha256(b"\x01" + (p + r if i % 2 else r + p)).digest()
        i, last = i // 2, last // 2
    need(not rest, "path too long")
    return r


@cache
def is_sound(key: bytes) -> bool:
    """Tell whether an Ed25519 key is a canonical point, not one of small order."""
    p = 2**255 - 19
    y = int.from_bytes(key, "little") % 2**255
    d = -121665 * pow(121666, -1, p) % p
    x2 = (y * y - 1) * pow(d * y * y + 1, -1, p) % p
    if y >= p or (x2 and pow(x2, (p - 1) // 2, p) != 1):
        return False
    small = 2707385501144840649318225287225658788936804267575313519463743609750303402022
    return y not in (0, 1, p - 1, small, p - small)


def counted(validators: Value) -> list[Value]:
    members: list[Value] = []
    for member in validators[2]:
        if is_sound(member[3]) and member[3] not in [one[3] for one in members]:
            members.append(member)
    return members


def check_note(note: bytes, chain_id: bytes, validators: Value) -> tuple[int, bytes]:
    """Check the note of a public checkpoint; return its size and root."""
    try:
        text = note.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RefusedError("UTF-8") from error
    lines = text.split("\n")
    need(len(lines) >= 6 and lines[3] == "" and lines[-1] == "", "lines")
    origin, (size, root) = f"govchain/{chain_id.hex()}", lines[1:3]
    need(lines[0] == origin, "origin")
    need(re.fullmatch("0|[1-9][0-9]*", size, re.ASCII) and int(size) < 2**64, "size")
    need(len(from_base64(root)) == 32, "root")
    body = "".join(f"{line}\n" for line in lines[:3]).encode()
    members = counted(validators)
    log = signature_of(lines[4], origin)
    signers = [one for one in members if log[:4] == key_id(origin, 1, one[3])]
    need(any(is_signed(one[3], log[4:], body) for one in signers), "log signature")
    at, cosigners = 0, 0
    for line in lines[5:-1]:
        while at < len(members) and f" {origin}/{quoted(members[at][0])} " not in line:
            at += 1
        need(at < len(members), "cosigner")
        name, key = f"{origin}/{quoted(members[at][0])}", members[at][3]
        data = signature_of(line, name)
        time = int.from_bytes(data[4:12])
        need(data[:4] == key_id(name, 4, key) and time < 2**63, "key id, time")
        signed = f"cosignature/v1\ntime {time}\n".encode() + body
        need(is_signed(key, data[12:], signed), "cosignature")
        at, cosigners = at + 1, cosigners + 1
    n = len(validators[2])
    need(cosigners >= (n + (n - 1) // 3 + 2) // 2, "quorum of cosigners")
    return int(size), from_base64(root)


def signature_of(line: str, name: str) -> bytes:
    start = f"\u2014 {name} "
    need(line.startswith(start), "name")
    return from_base64(line[len(start) :])


def key_id(name: str, kind: int, key: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + key).digest()[:4]


def quoted(text: str) -> str:
    plain = re.compile(rb"[A-Za-z0-9._~-]")
    return "".join(
        chr(byte) if plain.match(bytes([byte])) else f"%{byte:02X}" for byte in text.encode()
    )


def is_signed(key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        ed25519.Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def distinct(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    need(len(dict(pairs)) == len(pairs), "a name twice")
    return dict(pairs)


def from_base64(text: Value) -> bytes:
    need(isinstance(text, str), "no text")
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise RefusedError("not base64") from error
    need(base64.b64encode(data).decode() == text, "not the one base64")
    return data


class Trust:
    """A trust file, checked; `rule` says how far the check came."""

    def __init__(self, text: bytes) -> None:
        self.rule = "form"
        try:
            self.check(text)
        except RefusedError as error:
            raise RefusedError(self.rule) from error

    def check(self, text: bytes) -> None:
        need(len(text) <= 67_108_864, "too long")
        try:
            fields = json.loads(text.decode("utf-8"), object_pairs_hook=distinct)
        except ValueError as error:
            raise RefusedError("not JSON") from error
        names = ["chain_id", "format", "genesis", "handovers", "pinned", "version"]
        need(isinstance(fields, dict) and sorted(fields) == names, "fields")
        need(fields["format"] == "govchain-trust", "format")
        need(type(fields["version"]) is int and fields["version"] == 1, "version")
        chain_id, handovers, pinned = (fields[name] for name in ("chain_id", "handovers", "pinned"))
        need(isinstance(chain_id, str) and re.fullmatch("[0-9a-f]{64}", chain_id), "chain id")
        need(isinstance(handovers, list) and len(handovers) <= 16_384, "handovers")
        need(pinned is not None or not handovers, "handovers, nothing pinned")
        genesis = read(from_base64(fields["genesis"]), GENESIS)
        check_members(genesis[7])
        handovers = [read_handover(read(from_base64(text), HANDOVER)) for text in handovers]
        if pinned is not None:
            pinned = read(from_base64(pinned), [HEADER, CERTIFICATE])
            check_voters(pinned[1])
        self.rule = "A"
        self.chain_id, self.genesis, self.created = bytes.fromhex(chain_id), genesis, genesis[3]
        need(tagged("genesis", genesis) == self.chain_id and genesis[7][1] == 0, "A")
        self.rule = "B"
        self.sets = [genesis[7]]
        for handover in handovers:
            self.sets.append(check_handover(handover, self.sets[-1], self.chain_id))
        self.rule = "C"
        self.pairs = [(handover[0], handover[1]) for handover in handovers]
        if pinned is not None:
            check_certified(pinned[0], pinned[1], self.sets[-1], self.chain_id)
            self.pairs.append(tuple(pinned))
        self.rule = "D"
        check_one_chain(self.pairs, self.created)


def check_joined(
    compact: Value, record: Value, header: Value, validators: Value, *, bls: bool
) -> None:
    chain_id, leaf, index, height = record
    joined, certified = compact
    check_compact(certified, chain_id, validators, bls=bls)
    _, _, at, stated, size, root, state, _, _ = certified
    hashes_of_path = [joined[start : start + 32] for start in range(0, len(joined), 32)]
    need(path_root(leaf, index, size, hashes_of_path) == root, "compact root")
    need(at >= height, "compact height")
    own = [tagged("header", header), header[10], header[11][0], header[12]]
    need(at > height or [stated, size, root, state] == own, "compact fork")


def follow_sets(handovers: Value, first: int, trust: Trust) -> Value:
    """Return the set that handovers lead to from the trust file's of epoch `first`."""
    validators = trust.sets[first]
    for handover in handovers:
        validators = check_handover(handover, validators, trust.chain_id)
        known = trust.sets[validators[1]] if validators[1] < len(trust.sets) else validators
        need(known == validators, "known set")
    return validators


Join: TypeAlias = "Callable[[Value], tuple[str, Value]]"
"""What joins a header to a later one: its verdict, and the certified headers it brings along."""


def verify(
    data: bytes, document: str, trust: Trust, join: Join | None = None, *, bls: bool = True
) -> tuple[str, int | None]:
    """Verify a receipt, or the receipt of a refreshed one, whose proof `join` verifies.

    Without `bls` as one who lacks BLS12-381, and has to say that he did not check it.
    """
    step = 1
    joined: Value = []
    try:
        need(len(data) <= 4_194_304, "too long")
        receipt = read(data, RECEIPT)
        _, chain_id, _, leaf, index, path, header, certificate, handovers, *more = receipt
        token, cose, public, compact = more
        need(compact is None or len(compact[0]) % 32 == 0, "joined path")
        _, _, height, time, _, _, _, (algorithm, digest, _, _, action) = read(leaf, LEAF)
        check_voters(certificate)
        handovers = [read_handover(handover) for handover in handovers]
        step = 2
        name = {1: "sha-256", 2: "sm3", 3: "sha-384", 4: "sha-512"}.get(algorithm)
        need(f"{name}:{digest.hex()}" == document, "document")
        step = 3
        need([chain_id, height, time] == [header[1], header[3], header[5]], "block")
        step = 4
        need(path_root(leaf, index, header[10], path) == header[11][0], "root")
        step = 5
        check_about(certificate, header)
        step = 6
        if join is not None:
            outcome, joined = join(header)
            if outcome != "verified":
                return outcome, step
        epoch, anchor_epoch = header[2], len(trust.sets) - 1
        first = handovers[0][0][2] if handovers else epoch
        is_retired = epoch < anchor_epoch and join is None
        if chain_id != trust.chain_id or is_retired or first > anchor_epoch:
            return "not rooted", step
        validators = follow_sets(handovers, first, trust)
        need(validators[1] == epoch, "epoch reached")
        step = 7
        check_certified(header, certificate, validators, chain_id)
        if cose is not None:
            check_cose(cose, validators, chain_id, header[11][0])
        if public is not None:
            size, root = check_note(public[0], chain_id, validators)
            need(path_root(leaf, index, size, public[1]) == root, "public root")
        if compact is not None:
            check_joined(compact, (chain_id, leaf, index, height), header, validators, bls=bls)
        step = 8
        theirs = [(handover[0], handover[1]) for handover in handovers]
        check_one_chain([*trust.pairs, *theirs, (header, certificate), *joined], trust.created)
        step = 9
        record = (algorithm, digest, chain_id, height, index, time)
        if token is not None and not check_own_token(token, record, header, trust):
            return "not rooted", step
        step = 10
        need(action != 2, "withdrawn")
    except RefusedError:
        return "not verified", step
    return "verified", None


# --- Tokens ---

DIGEST_OIDS = {1: "2.16.840.1.101.3.4.2.1", 2: "1.2.156.10197.1.401"}
DIGEST_OIDS |= {3: "2.16.840.1.101.3.4.2.2", 4: "2.16.840.1.101.3.4.2.3"}
UNDERSTOOD = [ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE]
UNDERSTOOD += [ExtensionOID.EXTENDED_KEY_USAGE, ExtensionOID.SUBJECT_ALTERNATIVE_NAME]


def element(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content).to_bytes(max(1, (len(content).bit_length() + 7) // 8), "big")
    head = size if len(content) < 128 else bytes([128 + len(size)]) + size
    return bytes([tag]) + head + content


def seq(*parts: bytes) -> bytes:
    return element(0x30, *parts)


def oid(dotted: str) -> bytes:
    return bytes(core.ObjectIdentifier(dotted).dump())


def number(value: int) -> bytes:
    return bytes(core.Integer(value).dump())


def attribute(name: str, value: bytes) -> bytes:
    return seq(oid(name), element(0x31, value))


def generalized(time: int) -> bytes:
    moment = datetime.fromtimestamp(time // 1000, UTC)
    text = f"{moment:%Y%m%d%H%M%S}.{time % 1000:03}".rstrip("0").rstrip(".")
    return element(0x18, text.encode() + b"Z")


def accuracy_of(bound: int) -> bytes:
    whole, rest = divmod(bound, 1000)
    parts = [number(whole)] * (whole > 0)
    parts += [b"\x80" + number(rest)[1:]] * (rest > 0)
    return seq(*parts)


def check_own_token(token: bytes, record: Value, header: Value, trust: Trust) -> bool:
    need(not header[6], "degraded")
    promised = header[15] == tagged("parameters", trust.genesis[5])
    return check_token(token, record, trust.genesis[5][4] if promised else None, trust.genesis[6])


def check_token(token: bytes, record: Value, bound: int | None, organisations: Value) -> bool:
    """Say whether the path leads to an authority of the genesis; refuse what is no token."""
    algorithm, digest, chain_id, height, index, time = record
    try:
        signed = cms.ContentInfo.load(token, strict=True)["content"]
        info = tsp.TSTInfo.load(signed["encap_content_info"]["content"].contents, strict=True)
        signer = signed["signer_infos"][0]
        certificates = [one.dump() for one in signed["certificates"]]
        loaded = [x509.load_der_x509_certificate(one) for one in certificates]
        accuracy, nonce = info["accuracy"].dump(), info["nonce"].dump()
        policy = info["policy"].dump()
        null = info["message_imprint"]["hash_algorithm"]["parameters"].dump()
        r, s = decode_dss_signature(signer["signature"].native)
        sid = signer["sid"].chosen
        issuer, serial_number = sid["issuer"].dump(), sid["serial_number"].native
    except Exception as error:
        raise RefusedError("token") from error
    need(null in (b"", b"\x05\x00"))
    need(bound is None or accuracy == accuracy_of(bound), "accuracy")
    serial = b"\x01" + chain_id[:7] + height.to_bytes(6, "big") + index.to_bytes(6, "big")
    imprint = seq(seq(oid(DIGEST_OIDS[algorithm]), null), element(4, digest))
    place = number(int.from_bytes(serial, "big"))
    said = seq(number(1), policy, imprint, place, generalized(time), accuracy, nonce)
    leaves = [
        at
        for at, one in enumerate(loaded)
        if (one.issuer.public_bytes(), one.serial_number) == (issuer, serial_number)
    ]
    need(leaves, "leaf")
    leaf = loaded[leaves[0]]
    named = seq(seq(seq(element(4, hashlib.sha256(certificates[leaves[0]]).digest()))))
    attributes = b"".join(
        sorted(
            (
                attribute("1.2.840.113549.1.9.3", oid("1.2.840.113549.1.9.16.1.4")),
                attribute("1.2.840.113549.1.9.4", element(4, hashlib.sha256(said).digest())),
                attribute("1.2.840.113549.1.9.16.2.47", named),
            )
        )
    )
    sha256 = seq(oid("2.16.840.1.101.3.4.2.1"))
    signer_info = seq(
        number(1),
        seq(issuer, number(serial_number)),
        sha256,
        element(0xA0, attributes),
        seq(oid("1.2.840.10045.4.3.2")),
        element(4, seq(number(r), number(s))),
    )
    content = seq(oid("1.2.840.113549.1.9.16.1.4"), element(0xA0, element(4, said)))
    held = element(0xA0, *sorted(certificates))
    body = seq(number(3), element(0x31, sha256), content, held, element(0x31, signer_info))
    whole = seq(oid("1.2.840.113549.1.7.2"), element(0xA0, body))
    need(whole == token, "form")
    key = leaf.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise RefusedError("key")
    need(0 < s <= ORDER // 2, "s")
    try:
        key.verify(signer["signature"].native, element(0x31, attributes), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise RefusedError("token signature") from error
    check_purpose(leaf)
    roots = []
    for organisation in organisations:
        with suppress(ValueError):
            roots.append(x509.load_der_x509_certificate(organisation[2]))
    return follow(leaf, loaded, roots, time)


def check_purpose(leaf: x509.Certificate) -> None:
    purposes = {one.oid: one for one in leaf.extensions}
    extended = purposes.get(ExtensionOID.EXTENDED_KEY_USAGE)
    wanted = [ExtendedKeyUsageOID.TIME_STAMPING]
    need(extended and extended.critical and list(extended.value) == wanted, "extended key usage")
    usage = purposes.get(ExtensionOID.KEY_USAGE)
    if usage is not None:
        value = usage.value
        need(value.digital_signature or value.content_commitment, "key usage")
        other = (value.key_encipherment, value.data_encipherment, value.key_agreement)
        need(not any((*other, value.key_cert_sign, value.crl_sign)), "key usage")


def follow(
    leaf: x509.Certificate, held: list[x509.Certificate], roots: list[x509.Certificate], time: int
) -> bool:
    """Follow the path from the leaf; its members' validity and what is held besides count too."""
    path = [leaf]
    while path[-1] not in roots and len(path) < 4:
        above = [one for one in [*roots, *held] if one not in path and is_issued(path[-1], one)]
        if not above:
            break
        path.append(above[0])
    moment = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=time)
    for at, one in enumerate(path):
        known = {each.oid for each in one.extensions if each.critical} <= set(UNDERSTOOD)
        need(known and one.not_valid_before_utc <= moment <= one.not_valid_after_utc, "validity")
        if at:
            constraints = one.extensions.get_extension_for_class(x509.BasicConstraints).value
            need(constraints.ca and (constraints.path_length or 0) >= at - 1, "authority")
    need(all(one in path for one in held) or path[-1] not in roots, "unrelated certificates")
    return path[-1] in roots


def is_issued(one: x509.Certificate, by: x509.Certificate) -> bool:
    try:
        one.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def attested(data: bytes, trust: Trust) -> dict[str, Value]:
    """Say what a verified receipt attests."""
    _, _, _, leaf, _, _, header, certificate, *_ = cbor2.loads(data)
    parameters = trust.genesis[5]
    promised = not header[6] and header[15] == tagged("parameters", parameters)
    times = sorted(vote[1] for vote in certificate[7])
    return {
        "sender": cbor2.loads(leaf)[6],
        "height": header[3],
        "agreed_time_ms": header[5],
        "time_degraded": header[6],
        "accuracy_ms": parameters[4] if promised else None,
        "seal_time_ms": times[(len(times) - 1) // 2],
    }
