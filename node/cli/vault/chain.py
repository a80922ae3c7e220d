"""What the chain says of the vault, proved, and what is ordered of it. No content here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from gettext import gettext as _
from pathlib import Path
from typing import Final, TypeVar

from node.chain.admission import FinalResult
from node.chain.authorisation import Authorised
from node.chain.block import ResultCode
from node.chain.identity import Status, StatusEntry, Subject
from node.chain.vault import (
    EncryptionKey,
    RegisterKey,
    Use,
    Vault,
    VaultDocument,
    VaultKeys,
    VaultOperation,
    vault_document_key,
    vault_keys_key,
)
from node.cli.network import Network, open_secret
from node.cli.outcomes import explain
from node.cli.verb import CommandError
from node.client.chain import read_file
from node.client.signing import clock_ms, sign_payload
from node.crypto.envelope import Opener
from node.crypto.keystore import KeyPurpose, generate_key, load_opener, save_key
from node.crypto.member_certificate import read_identity
from node.errors import ClientError, CryptoError, DecodeError, PeerError, ProofError
from node.execution.registry import status_key
from node.rpc.client import LedgerClient, NotFound
from node.rpc.connection import judge
from node.rpc.vault_client import VaultClient
from node.timestamp.state_value import StateValue, verify_state_value

_SUBMIT_MS: Final = 30_000
_PATIENCE_S: Final = 10.0
_POLL_S: Final = 0.1
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Known:
    """A document as a quorum attests it, after one block."""

    document_id: bytes
    document: VaultDocument
    proved: StateValue


class VaultDesk:
    """The vault of a chain, as one identity deals with it."""

    def __init__(self, network: Network) -> None:
        self.network = network

    @cached_property
    def organisation(self) -> str:
        """Return the organisation of who asks, by its certificate."""
        path = self.network.credentials / "client.pem"
        return read_identity(read_file(path)).organisation

    @cached_property
    def nodes(self) -> Sequence[str]:
        """Return the nodes of the profile, those of the own organisation first."""
        ids = [endpoint.validator_id for endpoint in self.network.profile.endpoints]
        return sorted(ids, key=lambda each: each not in self.own_nodes)

    @cached_property
    def own_nodes(self) -> Sequence[str]:
        """Return the nodes of the own organisation that the profile names."""
        return self._nodes_of(self.organisation)

    def _nodes_of(self, organisation: str) -> Sequence[str]:
        members = {
            each.validator_id: each.organisation for each in self.network.validators.validators
        }
        ids = [endpoint.validator_id for endpoint in self.network.profile.endpoints]
        return [each for each in ids if members.get(each) == organisation]

    def nodes_for(self, document: VaultDocument) -> Sequence[str]:
        """Return the nodes of the profile, those of a document's owner first if terms bind it."""
        grant = document.grant_of(self.network.identity)
        if grant is None or grant.authorised is None:
            return self.nodes
        owners = self._nodes_of(document.organisation)
        return [*owners, *(each for each in self.nodes if each not in owners)]

    def expect_own_node(self) -> str:
        """Return the node that keeps what this identity puts; raises `CommandError` for none."""
        if not self.own_nodes:
            said = _("the profile names no node of {organisation}")
            raise CommandError("GC-2609", said.format(organisation=self.organisation))
        return self.own_nodes[0]

    # --- What the state holds ---

    def find(self, document_id: bytes, least_height: int = 0) -> Known:
        """Return a document, proved, as of a height or later.

        Raises `CommandError` where there never was one.
        """

        async def ask(client: LedgerClient) -> Known | None:
            deadline_s = time.monotonic() + _PATIENCE_S
            while True:
                known = await self.document(client, document_id)
                is_new = known is not None and known.proved.height >= least_height
                if is_new or not least_height or time.monotonic() > deadline_s:
                    return known
                await asyncio.sleep(_POLL_S)

        known = asyncio.run(self._with_client(ask))
        if known is None:
            said = _("{document}: no document of this id was ever in the vault")
            raise CommandError("GC-2607", said.format(document=document_id.hex()))
        return known

    def find_kept(self, document_id: bytes) -> Known:
        """Return a document that was not shredded; raises `CommandError` for any other."""
        known = self.find(document_id)
        if not known.document.is_kept:
            from node.timestamp.receipt import iso_time

            said = _("{document} was shredded at {time} (block {height}), ordered by {identity}")
            raise CommandError(
                "GC-2604",
                said.format(
                    document=document_id.hex(),
                    time=iso_time(known.document.time_ms),
                    height=known.document.height,
                    identity=known.document.ordered_by,
                ),
            )
        return known

    async def document(self, client: LedgerClient, document_id: bytes) -> Known | None:
        """Ask every node for its proof; return what the newest that verifies says."""
        proofs = await VaultClient(client).proofs(document_id=document_id)
        proved = await self._newest(proofs, vault_document_key(document_id))
        if proved.value is None:
            return None
        return Known(document_id, _read(VaultDocument.decode, proved.value), proved)

    def keys_of(self, organisation: str) -> VaultKeys:
        """Return the encryption keys of an organisation's identities, proved."""

        async def ask(client: LedgerClient) -> VaultKeys:
            proofs = await VaultClient(client).proofs(organisation=organisation)
            proved = await self._newest(proofs, vault_keys_key(organisation))
            return VaultKeys() if proved.value is None else _read(VaultKeys.decode, proved.value)

        return asyncio.run(self._with_client(ask))

    def recipients(self, names: Sequence[str]) -> list[EncryptionKey]:
        """Return the keys to wrap for: of identities, and of all in an organisation that has any.

        A name is that of an organisation, less who lost its rights there, of an identity known
        since genesis, or `organisation:identity`. Raises `CommandError` naming who has no key.
        """
        found: dict[str, EncryptionKey] = {}
        for name in names:
            organisation, colon, identity = name.partition(":")
            if colon:
                keys = [self.keys_of(organisation).find(identity)]
            elif keys_of := self.keys_of(name).keys:
                keys = [each for each in keys_of if self.has_rights(each.identity_id)]
                if not keys:
                    raise CommandError(
                        "GC-2606", _("{name}: all who have one lost their rights").format(name=name)
                    )
            else:
                home = self._home_of(name)
                keys = [None if home is None else self.keys_of(home).find(name)]
            for key in keys:
                if key is None:
                    said = _("{name}: no encryption key is registered").format(name=name)
                    raise CommandError("GC-2606", said)
                found[key.identity_id] = key
        return [*found.values()]

    def has_rights(self, identity_id: str) -> bool:
        """Say whether an identity is neither frozen nor revoked, proved."""

        async def ask(client: LedgerClient) -> bool:
            proofs = await VaultClient(client).proofs(identity=identity_id)
            proved = await self._newest(proofs, status_key(Subject.IDENTITY, identity_id))
            if proved.value is None:
                return True
            return _read(StatusEntry.decode, proved.value).status is Status.ACTIVE

        return asyncio.run(self._with_client(ask))

    def _home_of(self, identity_id: str) -> str | None:
        if identity_id == self.network.identity:
            return self.organisation
        identities = self.network.genesis.identities
        known = {each.identity_id: each.organisation for each in identities}
        return known.get(identity_id)

    async def _newest(self, proofs: dict[str, bytes | ClientError], key: bytes) -> StateValue:
        now_ms = clock_ms()
        best: StateValue | None = None
        refusals: list[str] = []
        for proof in proofs.values():
            if isinstance(proof, ClientError):
                continue
            try:
                proved = await asyncio.to_thread(self._verify, proof, key, now_ms)
            except (CryptoError, DecodeError, PeerError, ProofError) as error:
                refusals.append(str(error))
                continue
            if best is None or proved.height > best.height:
                best = proved
        if best is not None:
            return best
        if proofs and all(isinstance(each, NotFound) for each in proofs.values()):
            return StateValue(None, 0, 0)  # the chain has no block yet
        if refusals:
            raise CommandError("GC-2305", refusals[0])
        raise judge([each for each in proofs.values() if isinstance(each, ClientError)])

    def _verify(self, proof: bytes, key: bytes, now_ms: int) -> StateValue:
        from node.timestamp.state_value import StateValueProof

        epoch = StateValueProof.decode(proof).block.header.epoch
        return verify_state_value(proof, key, self.network.follow(epoch), now_ms=now_ms)

    # --- The own key ---

    def opener(self, number: int) -> Opener:
        """Return what opens with the own key of a number; raises `CommandError` if it is lost."""
        path = self._key_path(number)
        if not path.exists():
            said = _("{path}: the encryption key that opens it is not here").format(path=path)
            raise CommandError("GC-2605", said)
        secret = open_secret(self.network.profile.key_file)
        return load_opener(path, secret, self.network.suite)

    def own_key(self) -> EncryptionKey | None:
        """Return the own key as the state has it, or None."""
        return self.keys_of(self.organisation).find(self.network.identity)

    def register_key(self, number: int) -> FinalResult:
        """Make the own key of this number, if it is not made, and register it."""
        path = self._key_path(number)
        secret, suite = open_secret(self.network.profile.key_file), self.network.suite
        if not path.exists():
            save_key(
                path, generate_key(KeyPurpose.ENCRYPTION, suite), secret, KeyPurpose.ENCRYPTION
            )
        return self.order(RegisterKey(number, load_opener(path, secret, suite).public_key))

    def ensure_key(self) -> EncryptionKey:
        """Return the own key, made and registered now where there is none."""
        if (known := self.own_key()) is None:
            self.register_key(1)
            known = self.own_key()
        if known is None:
            raise CommandError("GC-2207", _("the key is registered, and not to be seen yet"))
        return known

    def _key_path(self, number: int) -> Path:
        return self.network.credentials / f"vault-{number}.key"

    # --- Orders ---

    def order(self, operation: VaultOperation) -> FinalResult:
        """Have the chain carry out an operation; raises `CommandError` where it does not."""
        return asyncio.run(self._with_client(lambda client: self.submit(client, operation)))

    async def submit(self, client: LedgerClient, operation: VaultOperation) -> FinalResult:
        """Sign an operation and submit it until it is final."""
        network = self.network
        status = await client.status()
        transaction = sign_payload(network, Vault(operation), status.reckoned_ms(clock_ms()))
        (outcome,) = await client.submit([transaction.encoded], _SUBMIT_MS)
        result = outcome.final()
        if result.code is not ResultCode.OK:
            cause, fix = explain(result.code)
            raise CommandError("GC-2307", f"{result.code.name}: {cause}", fix)
        return result

    def record_use(self, known: Known, authorised: Authorised) -> Known:
        """Have the chain note that the own identity reads a document under terms.

        Returns it as it is after that, known by a node of its owner's, which gives it then. Raises
        `CommandError` where the chain refuses, or no such node learns of it in time.
        """
        owners = self._nodes_of(known.document.organisation)
        order = Use(known.document_id, authorised.uses.height)

        async def run(client: LedgerClient) -> Known | None:
            height = (await self.submit(client, order)).height
            deadline_s = time.monotonic() + _PATIENCE_S
            while time.monotonic() < deadline_s:
                proofs = await VaultClient(client).proofs(document_id=known.document_id)
                theirs = {node: proof for node, proof in proofs.items() if node in owners}
                if any(not isinstance(proof, ClientError) for proof in theirs.values()):
                    proved = await self._newest(theirs, vault_document_key(known.document_id))
                    if proved.height >= height and proved.value is not None:
                        document = _read(VaultDocument.decode, proved.value)
                        return Known(known.document_id, document, proved)
                await asyncio.sleep(_POLL_S)
            return None

        after = asyncio.run(self._with_client(run))
        if after is None:
            said = _("no node of {organisation}, which owns it, answers: they alone give it")
            told = said.format(organisation=known.document.organisation)
            raise CommandError("GC-2601", told)
        return after

    async def _with_client(self, question: Callable[[LedgerClient], Awaitable[_Value]]) -> _Value:
        async with self.network.client() as client:
            return await question(client)


def read_document_id(text: str) -> bytes:
    """Return the document that somebody names; wrong usage for what is no id."""
    import click

    try:
        document_id = bytes.fromhex(text)
    except ValueError:
        document_id = b""
    if len(document_id) != 16:  # noqa: PLR2004 - bytes
        said = _("expected the id of a document, 32 hexadecimal digits, got {text!r:.80}")
        raise click.UsageError(said.format(text=text))
    return document_id


def _read(read: Callable[[bytes], _Value], value: bytes) -> _Value:
    try:
        return read(value)
    except DecodeError as error:
        raise CommandError("GC-2305", str(error)) from error
