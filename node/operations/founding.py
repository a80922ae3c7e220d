"""How organisations found a chain together: each makes its keys at home and sends what is public.

A `Founder` is what one organisation brings: its authority, its validator, its people, and where the
validator is reached, signed by the validator's vote key. A draft collects them; sealed, it says
which genesis they make, and each of them computes that again. No file here holds a secret. A
network of one machine (provision.py) is founded by the same `found`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec

from node.chain.encoding import (
    decode,
    encode,
    expect_array,
    expect_list,
    expect_text,
    expect_uint,
    expect_version,
)
from node.chain.genesis import Genesis, Identity, Organisation, Parameters, Role
from node.chain.membership import Validator, ValidatorSet
from node.config import Address
from node.crypto import domains
from node.crypto.member_certificate import encode_authority_pem
from node.crypto.signature import Signer
from node.crypto.suite import Suite, suite_by_id, suite_by_name
from node.errors import ConfigError, DecodeError, NodeError
from node.limits import GENESIS_BYTES_MAX, VALIDATORS_MAX

CODE: Final = "GC-2326"
"""Of all that is wrong with these files."""
FOUNDER_FORMAT: Final = "govchain-founder-1"
DRAFT_FORMAT: Final = "govchain-founding-draft-1"
SEALED_FORMAT: Final = "govchain-founding-1"
FOUNDING_BYTES_MAX: Final = 4 * GENESIS_BYTES_MAX
"""Of any of these files."""

_STATEMENT_BYTES_MAX: Final = 65_536
_IDENTITIES_MAX: Final = 64
_ADDRESS_BYTES_MAX: Final = 300
_SUITE_ID_MAX: Final = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Founder:
    """What one organisation brings to a chain that is to be founded. All of it is public."""

    suite: Suite
    organisation: Organisation
    validator: Validator
    identities: tuple[Identity, ...]
    """1..64."""
    peers_at: Address
    """Where other validators reach its own."""
    clients_at: Address

    def statement(self) -> bytes:
        """Return the canonical bytes that its vote key signs, but for their tag."""
        return encode(
            [
                1,
                self.suite.suite_id,
                self.organisation.to_value(),
                self.validator.to_value(),
                [each.to_value() for each in self.identities],
                str(self.peers_at),
                str(self.clients_at),
            ]
        )

    @classmethod
    def read(cls, statement: bytes) -> Founder:
        """Read a statement; raises `NodeError` unless it is one founder's, and its own alone."""
        what = "founder"
        version, suite_id, organisation, validator, identities, peers, clients = expect_array(
            decode(statement, what=what, size_max=_STATEMENT_BYTES_MAX), 7, what
        )
        expect_version(version, what)
        founder = cls(
            suite=suite_by_id(expect_uint(suite_id, "founder suite", _SUITE_ID_MAX)),
            organisation=Organisation.from_value(organisation),
            validator=Validator.from_value(validator),
            identities=tuple(
                Identity.from_value(each)
                for each in expect_list(identities, _IDENTITIES_MAX, "founder identities")
            ),
            peers_at=_read_address(peers),
            clients_at=_read_address(clients),
        )
        founder.check()
        return founder

    def check(self) -> None:
        """Check that nobody of another organisation is among them, and TLS can use the authority.

        Raises `NodeError`.
        """
        encode_authority_pem(self.organisation.ca_certificate)
        own = self.organisation.organisation_id
        members = [(self.validator.validator_id, self.validator.organisation)]
        members += [(each.identity_id, each.organisation) for each in self.identities]
        for name, organisation in members:
            if organisation != own:
                raise DecodeError(f"founder: expected {name!r} to be of {own!r}")
        if not any(each.role is Role.ADMIN for each in self.identities):
            raise DecodeError("founder identities: expected an administrator")
        for each in self.identities:
            self.suite.load_public_key(each.public_key)
        self.suite.load_cosignature_key(self.validator.cosignature_key)
        if self.validator.aggregate_key is not None:
            self.validator.aggregate_key.check()


@dataclass(frozen=True, slots=True)
class SignedFounder:
    """A founder, and the signature under its validator's vote key: `sign_founder`."""

    founder: Founder
    signature: bytes

    def encode(self) -> bytes:
        """Return the content of the file that is sent."""
        return _write(_Bundle.of(self))

    @classmethod
    def decode(cls, data: bytes) -> SignedFounder:
        """Read such a file; raises `ConfigError` (GC-2326) unless it is sound, and signed."""
        with _reading("bundle"):
            signed = msgspec.json.decode(_bounded(data), type=_Bundle).read()
            _expect_as_written(data, signed.encode())
            return signed


def sign_founder(founder: Founder, vote_key: Signer) -> SignedFounder:
    """Sign what an organisation brings, which shows that its validator holds its vote key."""
    return SignedFounder(founder, vote_key.sign(_signed_bytes(founder)))


def _signed_bytes(founder: Founder) -> bytes:
    return domains.tagged(domains.FOUNDER, founder.statement())


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What founders agree on besides who they are."""

    name: str
    suite: Suite
    created_ms: int
    testnet: bool
    parameters: Parameters = field(default_factory=Parameters)


def found(terms: Terms, founders: Sequence[Founder]) -> Genesis:
    """Return the genesis that founders make, in their order; raises `NodeError`.

    It is read back as every node will read it, so what that refuses is refused here.
    """
    for each in founders:
        if each.suite != terms.suite:
            name = each.organisation.organisation_id
            raise ConfigError(f"{name}: expected suite {terms.suite.name}, got {each.suite.name}")
    genesis = Genesis(
        suite=terms.suite,
        name=terms.name,
        created_ms=terms.created_ms,
        testnet=terms.testnet,
        parameters=terms.parameters,
        organisations=tuple(each.organisation for each in founders),
        validators=ValidatorSet(0, tuple(each.validator for each in founders), terms.suite),
        identities=tuple(identity for each in founders for identity in each.identities),
    )
    return Genesis.decode(genesis.encode())


@dataclass(frozen=True, slots=True)
class Draft:
    """Terms, and the founders so far, in the order in which they will stand in the genesis."""

    terms: Terms
    founders: tuple[SignedFounder, ...] = ()

    def with_founder(self, added: SignedFounder) -> Draft:
        """Return it with one more; one of the same organisation is replaced, where it stood.

        Raises `ConfigError` (GC-2326) where it cannot stand beside the others.
        """
        name = added.founder.organisation.organisation_id
        listed = [each.founder.organisation.organisation_id for each in self.founders]
        if name in listed:
            at = listed.index(name)
            founders = (*self.founders[:at], added, *self.founders[at + 1 :])
        else:
            founders = (*self.founders, added)
        draft = replace(self, founders=founders)
        draft.genesis()
        return draft

    def genesis(self) -> Genesis:
        """Return the genesis that it makes; raises `ConfigError` (GC-2326)."""
        with _reading("founding"):
            return found(self.terms, [each.founder for each in self.founders])

    def encode(self) -> bytes:
        """Return the content of the draft's file."""
        return _write(_Draft.of(self))

    @classmethod
    def decode(cls, data: bytes) -> Draft:
        """Read a draft's file; raises `ConfigError` (GC-2326)."""
        with _reading("draft"):
            draft = msgspec.json.decode(_bounded(data), type=_Draft).read(DRAFT_FORMAT)
            _expect_as_written(data, draft.encode())
            return draft

    def seal(self) -> bytes:
        """Return the content of the file that says which chain these founded."""
        genesis = self.genesis()
        genesis.validators.check_possessions()
        return self._sealed(genesis)

    def _sealed(self, genesis: Genesis) -> bytes:
        content, chain_id = _Draft.of(self), genesis.chain_id.hex()
        return _write(msgspec.structs.replace(content, format=SEALED_FORMAT, chain_id=chain_id))


def open_sealed(data: bytes) -> tuple[Draft, Genesis]:
    """Read what was sealed, and compute the genesis from the founders in it again.

    Raises `ConfigError` (GC-2326) unless each of them is sound and signed, and together they make
    the chain that the file names.
    """
    with _reading("founding"):
        content = msgspec.json.decode(_bounded(data), type=_Draft)
        draft = content.read(SEALED_FORMAT)
        genesis = draft.genesis()
        if genesis.chain_id.hex() != content.chain_id:
            raise ConfigError(
                f"expected chain {content.chain_id:.64}, its founders make {genesis.chain_id.hex()}"
            )
        _expect_as_written(data, draft._sealed(genesis))  # noqa: SLF001 - of this module
        genesis.validators.check_possessions()
    return draft, genesis


# ---------------------------------------------------------------------- files


class _Bundle(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A founder's file."""

    format: str
    organisation: str
    """For people; the statement says it, too."""
    statement: str
    """Hexadecimal."""
    signature: str

    @classmethod
    def of(cls, signed: SignedFounder) -> _Bundle:
        founder = signed.founder
        return cls(
            format=FOUNDER_FORMAT,
            organisation=founder.organisation.organisation_id,
            statement=founder.statement().hex(),
            signature=signed.signature.hex(),
        )

    def read(self) -> SignedFounder:
        """Return what it says; raises `ValueError` or `NodeError`."""
        _expect_format(self.format, FOUNDER_FORMAT)
        founder = Founder.read(bytes.fromhex(self.statement))
        if founder.organisation.organisation_id != self.organisation:
            raise ConfigError("its name and its statement are of different organisations")
        signature, suite = bytes.fromhex(self.signature), founder.suite
        key = suite.load_public_key(founder.validator.vote_key)
        is_whole = len(signature) == suite.signature_size
        if not (is_whole and key.verify(_signed_bytes(founder), signature)):
            raise ConfigError("its signature under the validator's vote key does not verify")
        return SignedFounder(founder, signature)


class _Draft(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file of a draft, and of what was sealed."""

    format: str
    name: str
    suite: str
    created_ms: int
    testnet: bool
    parameters: dict[str, int]
    chain_id: str = ""
    """Empty until sealed."""
    founders: list[_Bundle]

    @classmethod
    def of(cls, draft: Draft) -> _Draft:
        terms = draft.terms
        return cls(
            format=DRAFT_FORMAT,
            name=terms.name,
            suite=terms.suite.name,
            created_ms=terms.created_ms,
            testnet=terms.testnet,
            parameters=_parameters_of(terms.parameters),
            founders=[_Bundle.of(each) for each in draft.founders],
        )

    def read(self, expected: str) -> Draft:
        """Return what it says; raises `ValueError` or `NodeError`."""
        _expect_format(self.format, expected)
        if len(self.founders) > VALIDATORS_MAX:
            raise ConfigError(f"expected at most {VALIDATORS_MAX} founders")
        if [*self.parameters] != [*_parameters_of(Parameters())]:
            raise ConfigError("parameters: expected each of them, in their order")
        parameters = Parameters(**self.parameters)
        terms = Terms(
            name=self.name,
            suite=suite_by_name(self.suite),
            created_ms=self.created_ms,
            testnet=self.testnet,
            parameters=Parameters.from_value(parameters.to_value()),
        )
        return Draft(terms, tuple(each.read() for each in self.founders))


def _parameters_of(parameters: Parameters) -> dict[str, int]:
    return {name: getattr(parameters, name) for name in parameters.__dataclass_fields__}


def _expect_format(got: str, expected: str) -> None:
    if got != expected:
        raise ConfigError(f"expected format {expected}, got {got!r:.80}")


def _read_address(value: object) -> Address:
    return Address.parse(expect_text(value, "founder address", size_max=_ADDRESS_BYTES_MAX))


def _bounded(data: bytes) -> bytes:
    if len(data) > FOUNDING_BYTES_MAX:
        raise ConfigError(f"expected at most {FOUNDING_BYTES_MAX} bytes, got {len(data)}")
    return data


def _write(content: Any) -> bytes:  # noqa: ANN401 - one of the structs above
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"


def _expect_as_written(data: bytes, written: bytes) -> None:
    """Refuse what reads alike and is another file: people may read one thing, programs another."""
    if data != written:
        raise ConfigError("expected it as govchain wrote it: each field once, in its order")


@contextmanager
def _reading(what: str) -> Iterator[None]:
    """Tell whatever is wrong with a file as one error."""
    try:
        yield
    except (msgspec.MsgspecError, ValueError, TypeError, NodeError) as error:
        if isinstance(error, ConfigError) and error.code == CODE:
            raise
        fix = "get the file again, unchanged, from who made it"
        raise ConfigError(f"{what}: {error}", code=CODE, fix=fix) from error
