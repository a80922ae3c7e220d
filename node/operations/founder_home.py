"""What one organisation makes at home to found a chain with others, and runs once it is sealed.

In the folder of its home: `node` (the validator), `clients/NAME` (its people), `bundle.json` (what
is sent to the others). Its authority lies apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from node.chain.genesis import Genesis, Identity, Organisation, Role
from node.config import NODE_FILE, Address, ClientProfile, NodeConfig
from node.crypto.certificate import encode_der
from node.crypto.keystore import KeyPurpose, load_signer
from node.crypto.member_certificate import encode_authority_pem
from node.crypto.suite import Suite
from node.errors import ConfigError, CryptoError
from node.operations.equipment import FOLDER_MODE, Outfitter, timestamp_identity_id
from node.operations.founding import CODE, Draft, Founder, SignedFounder, sign_founder
from node.operations.homes import Secret, make_known, make_secret, making_own, open_authority
from node.operations.provision import endpoint_table, render_toml, update_toml
from node.operations.topology import (
    CA_BUNDLE_FILE,
    GENESIS_FILE,
    SECRET_FILE,
    lock_folder,
    write_file,
)
from node.service.home import VOTE_KEY_FILE, WAL_FOLDER, log_identity
from node.storage.wal import WriteAheadLog

BUNDLE_FILE: Final = "bundle.json"
NODE_FOLDER: Final = "node"
CLIENTS_FOLDER: Final = "clients"
PROFILE_FILE: Final = "profile.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class FounderPlan:
    """What an organisation is to bring."""

    suite: Suite
    organisation_id: str
    title: str
    """What it is called in full."""
    validator_id: str
    people: Mapping[str, Role]
    """Role by name; an administrator at least."""
    peer_address: Address
    """Where its validator listens for others."""
    client_address: Address
    host: str
    """DNS name or IP address by which others reach it, at these ports."""
    with_aggregate_key: bool = False


def make_founder(
    home: Path, plan: FounderPlan, authority_folder: Path, secret: Secret | None, now_ms: int
) -> SignedFounder:
    """Make the keys of an organisation in `home`, all or none; return what is public of them.

    `authority_folder` and `secret` are as `node.operations.homes.make_home` has them. Raises
    `ConfigError` where something is in the way, `CryptoError` where names cannot be used.
    """
    with making_own(home) as workshop:
        authority = open_authority(
            authority_folder, plan.suite, plan.organisation_id, secret, now_ms
        )
        workshop.mkdir(mode=FOLDER_MODE)
        secret = secret or make_secret(workshop)
        outfitter = Outfitter(plan.suite, secret.opens, now_ms)
        node = workshop / NODE_FOLDER
        validator = outfitter.equip_validator(
            node,
            plan.validator_id,
            plan.organisation_id,
            authority,
            hosts=(plan.host,),
            with_aggregate_key=plan.with_aggregate_key,
        )
        people = [
            outfitter.equip_client(
                workshop / CLIENTS_FOLDER / name, name, role, plan.organisation_id, authority
            )
            for name, role in plan.people.items()
        ]
        stamper = outfitter.make_timestamp_identity(
            node, timestamp_identity_id(plan.organisation_id), plan.organisation_id
        )
        _write_settings(workshop, plan, people, secret)
        founder = Founder(
            suite=plan.suite,
            organisation=Organisation(
                organisation_id=plan.organisation_id,
                name=plan.title,
                ca_certificate=encode_der(authority.certificate),
            ),
            validator=validator,
            identities=(*people, stamper),
            peers_at=Address(plan.host, plan.peer_address.port),
            clients_at=Address(plan.host, plan.client_address.port),
        )
        founder.check()
        key = load_signer(node / VOTE_KEY_FILE, secret.opens, KeyPurpose.VOTE)
        signed = sign_founder(founder, key)
        write_file(workshop / BUNDLE_FILE, signed.encode())
    return signed


def check_founding(home: Path, draft: Draft) -> SignedFounder:
    """Return what was sealed of the organisation of `home`; raises `ConfigError` (GC-2326).

    That is what its own bundle says, to the byte, and that its keys are the ones it made.
    """
    try:
        own = SignedFounder.decode((home / BUNDLE_FILE).read_bytes())
    except OSError as error:
        raise ConfigError(
            f"{home / BUNDLE_FILE}: {error.strerror}",
            code=CODE,
            fix="name the folder that govchain genesis new made",
        ) from error
    name = own.founder.organisation.organisation_id
    for sealed in draft.founders:
        if sealed.founder.organisation.organisation_id == name:
            if sealed != own:
                raise ConfigError(
                    f"founding: says of {name!r} something else than its own bundle",
                    code=CODE,
                    fix="have it sealed again, with this bundle; accept no other",
                )
            return own
    raise ConfigError(
        f"founding: {name!r} is not among its founders",
        code=CODE,
        fix="have it sealed again, with this bundle",
    )


def take_founding(home: Path, draft: Draft, genesis: Genesis) -> None:
    """Make the home of a founder run the chain that was sealed; a second call changes nothing.

    Raises `ConfigError` (GC-2326) where something else was sealed of it, or it runs another chain.
    """
    own = check_founding(home, draft).founder
    node = home / NODE_FOLDER
    with lock_folder(home, wait=True):
        encoded = genesis.encode()
        before = (node / GENESIS_FILE).read_bytes() if (node / GENESIS_FILE).exists() else None
        if before is not None and before != encoded:
            raise ConfigError(
                f"{home}: runs another chain already",
                code=CODE,
                fix="make another home for it: govchain genesis new",
            )
        bundle: dict[bytes, None] = {}
        for each in genesis.organisations:
            with suppress(CryptoError):  # of SM2: TLS knows no such authority
                bundle[encode_authority_pem(each.ca_certificate)] = None
        make_known(node, own.organisation.ca_certificate, b"".join(bundle))
        others = [
            each.founder
            for each in draft.founders
            if each.founder.validator.validator_id != own.validator.validator_id
        ]
        peers = [_endpoint(each, each.peers_at) for each in others]
        update_toml(node / NODE_FILE, {"peers": peers})
        if not (node / WAL_FOLDER).exists():
            WriteAheadLog.create(
                node / WAL_FOLDER, log_identity(genesis, own.validator.validator_id)
            )
        endpoints = [_endpoint(each, each.clients_at) for each in (own, *others)]
        write_file(home / CA_BUNDLE_FILE, b"".join(bundle))
        write_file(home / GENESIS_FILE, encoded)
        for profile in sorted((home / CLIENTS_FOLDER).glob(f"*/{PROFILE_FILE}")):
            update_toml(profile, {"chain_id": genesis.chain_id.hex(), "endpoints": endpoints})
            ClientProfile.load(profile)
        write_file(node / GENESIS_FILE, encoded)
        NodeConfig.load(node)  # what it would refuse at its start is refused now


def _endpoint(founder: Founder, address: Address) -> dict[str, str]:
    return endpoint_table(founder.validator.validator_id, address.host, address.port)


def _write_settings(
    workshop: Path, plan: FounderPlan, people: list[Identity], secret: Secret
) -> None:
    """Write the settings of the node and of each of the people, but for what is not known yet."""
    settings: dict[str, Any] = {
        "version": 1,
        "validator_id": plan.validator_id,
        "timestamp_identity": timestamp_identity_id(plan.organisation_id),
        "peer_address": str(plan.peer_address),
        "client_address": str(plan.client_address),
    }
    write_file(
        workshop / NODE_FOLDER / NODE_FILE,
        render_toml({**settings, **_key_file(workshop, secret, above=1)}),
    )
    for each in people:
        profile = {
            "version": 1,
            "chain_id": "",
            "suite": plan.suite.name,
            "identity": each.identity_id,
            "credentials": ".",
            "ca_bundle": f"../../{CA_BUNDLE_FILE}",
            "genesis": f"../../{GENESIS_FILE}",
            **_key_file(workshop, secret, above=2),
        }
        write_file(
            workshop / CLIENTS_FOLDER / each.identity_id / PROFILE_FILE, render_toml(profile)
        )


def _key_file(workshop: Path, secret: Secret, *, above: int) -> dict[str, str]:
    """Return the setting that says what opens keys, for a folder so many levels below the home."""
    if secret.key_file is None:
        return {}
    is_own = secret.key_file == workshop / SECRET_FILE
    own = "../" * above + SECRET_FILE
    return {"key_file": own if is_own else str(secret.key_file.resolve())}
