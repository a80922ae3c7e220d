"""Policies: ours, the format's own example, and everything it forbids."""

from __future__ import annotations

import pytest

from node.errors import DecodeError, ProofError
from node.timestamp.log.checkpoint import cosigner_name
from node.timestamp.log.note import Note, SignatureType, VerifierKey, cosign_text
from node.timestamp.log.policy import LogPolicy, parse_policy, policy_of
from tests.unit.timestamp.log.test_note import GO_KEY, key_of, signer
from tests.vectors.receipt.chain import Chain
from tests.vectors.receipt.cosigned import TIME_S, checkpoint_at, cosigned

NAMES = ("X1", "X2", "X3", "Y1", "Y2", "Y3")


def vkey(name: str) -> str:
    return str(key_of(name, SignatureType.COSIGNATURE))


# The example of c2sp.org/tlog-policy, with keys in it.
EXAMPLE = f"""log {GO_KEY}

witness X1 {vkey("X1")}
witness X2 {vkey("X2")}
witness X3 {vkey("X3")}
group X-witnesses 2 X1 X2 X3

witness Y1 {vkey("Y1")}
witness Y2 {vkey("Y2")}
witness Y3 {vkey("Y3")}
group Y-witnesses any Y1 Y2 Y3

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""


def read(text: str) -> LogPolicy:
    return parse_policy(text.encode())


def policy_for(chain: Chain) -> LogPolicy:
    return read(policy_of(chain.genesis.chain_id, chain.validators))


def grown() -> Chain:
    chain = Chain.found()
    chain.append()
    return chain


@pytest.mark.parametrize(
    ("names", "is_enough"),
    [
        (NAMES, True),
        (("X1", "X2", "Y1"), True),
        (("X2", "X3", "Y3"), True),
        (("X1", "Y1", "Y2", "Y3"), False),
        (("X1", "X2", "X3"), False),
        ((), False),
    ],
)
def test_the_example_of_the_page_asks_for_two_and_one(
    names: tuple[str, ...], *, is_enough: bool
) -> None:
    chain = grown()
    checkpoint = checkpoint_at(chain, 1)
    ours = policy_of(chain.genesis.chain_id, chain.validators)
    logs = "".join(f"{line}\n" for line in ours.split("\n") if line.startswith("log "))
    policy = read(EXAMPLE.replace(f"log {GO_KEY}\n", logs))
    log_line = cosigned(checkpoint, chain.validators).signatures[0]
    lines = [cosign_text(checkpoint.text, name, signer(name), TIME_S) for name in names]
    note = Note(checkpoint.text, (log_line, *lines))
    if is_enough:
        assert policy.check(note).witnesses == names
    else:
        with pytest.raises(ProofError, match="policy-quorum"):
            policy.check(note)


def test_the_policy_of_an_epoch_asks_for_a_quorum_of_its_validators() -> None:
    chain = grown()
    text = policy_of(chain.genesis.chain_id, chain.validators)
    assert "group validators 3 validator/validator-1 validator/validator-2" in text
    policy, checkpoint = read(text), checkpoint_at(chain, 1)
    found = policy.check(cosigned(checkpoint, chain.validators, (0, 1, 3)))
    assert found.checkpoint == checkpoint
    assert found.witnesses == tuple(f"validator/validator-{at}" for at in (1, 2, 4))
    assert found.seal_time_s == TIME_S + 1
    with pytest.raises(ProofError, match="policy-quorum"):
        policy.check(cosigned(checkpoint, chain.validators, (0, 1)))


def test_a_log_it_does_not_name_and_a_log_that_did_not_sign_are_refused() -> None:
    chain, other = grown(), Chain.found("other")
    other.append()
    policy = policy_for(chain)
    with pytest.raises(ProofError, match="policy-origin"):
        policy.check(cosigned(checkpoint_at(other, 1), other.validators))
    note = cosigned(checkpoint_at(chain, 1), chain.validators)
    with pytest.raises(ProofError, match="policy-log"):
        policy.check(Note(note.text, note.signatures[1:]))


def test_lines_of_strangers_are_ignored_and_no_line_of_one_known_is() -> None:
    chain = grown()
    note, policy = cosigned(checkpoint_at(chain, 1), chain.validators), policy_for(chain)
    stranger = cosign_text(note.text, "stranger", signer("stranger"), TIME_S)
    assert policy.check(Note(note.text, (*note.signatures, stranger))).witnesses
    name = cosigner_name(note.text.split("\n")[0], "validator-4")
    key = next(key for key in policy.witnesses.values() if key.name == name)
    false = cosign_text("other\n", name, signer("stranger"), TIME_S)
    bad = type(false)(name, key.key_id, false.signature)
    with pytest.raises(ProofError, match="note-signature"):
        policy.check(Note(note.text, (*note.signatures, bad)))


def test_no_quorum_can_be_asked_for() -> None:
    chain = grown()
    logs = "".join(f"log {key}\n" for key in policy_for(chain).logs)
    note = cosigned(checkpoint_at(chain, 1), chain.validators)
    found = read(f"{logs}quorum none\n").check(note)
    assert (found.witnesses, found.seal_time_s) == ((), None)


def test_spaces_tabs_comments_and_any_high_octet_are_taken() -> None:
    text = f" \t\n# \u4e2d\n\twitness \u00e9  {vkey('X1')}\thttps://w.example/ \nquorum \u00e9\n"
    assert list(read(text).witnesses) == ["\u00e9"]
    assert parse_policy(b"# \xff\xfe\nquorum none\n").quorum is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "quorum none",
        "quorum none\nquorum none\n",
        "quorum X1\n",
        f"quorum X1\nwitness X1 {vkey('X1')}\n",
        f"witness none {vkey('X1')}\nquorum none\n",
        f"witness X1 {vkey('X1')}\nwitness X1 {vkey('X2')}\nquorum none\n",
        f"witness X1 {vkey('X1')}\nwitness X2 {vkey('X1')}\nquorum none\n",
        f"witness X1 {GO_KEY}\nquorum none\n",
        f"log {GO_KEY}\nlog {GO_KEY}\nquorum none\n",
        "log nonsense\nquorum none\n",
        f"witness X1 {vkey('X1')}\ngroup g any\nquorum none\n",
        f"witness X1 {vkey('X1')}\ngroup g 0 X1\nquorum none\n",
        f"witness X1 {vkey('X1')}\ngroup g 2 X1\nquorum none\n",
        f"witness X1 {vkey('X1')}\ngroup g 01 X1\nquorum none\n",
        f"witness X1 {vkey('X1')}\ngroup g some X1\nquorum none\n",
        f"witness X1 {vkey('X1')}\ngroup g 1 X1 X1\nquorum none\n",
        f"witness X1 {vkey('X1')}\ngroup g 1 X1\ngroup h 1 X1\nquorum none\n",
        f"witness X1 {vkey('X1')}\ngroup X1 1 X1\nquorum none\n",
        "group g 1 g\nquorum none\n",
        "group g 1 none\nquorum none\n",
        "hello\nquorum none\n",
        "quorum none\r\n",
        "quorum\u0000 none\n",
        "#" * 262_144 + "\nquorum none\n",
    ],
)
def test_what_the_page_forbids_is_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        read(text)


def test_a_log_may_sign_by_a_cosignature_key() -> None:
    """The page of checkpoints leaves to the log how it signs."""
    key = VerifierKey.of("log", SignatureType.COSIGNATURE, signer("log").public_key.encoded)
    text = f"log\n1\n{'A' * 43}=\n"
    note = Note(text, (cosign_text(text, "log", signer("log"), TIME_S),))
    assert read(f"log {key}\nquorum none\n").check(note).checkpoint.head.size == 1
