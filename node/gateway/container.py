"""The home of a gateway that runs in a container beside those of a trial network.

It holds all that the gateway needs and nothing else: the identity it acts as, the chain it speaks
to, its own keys. What opens them lies apart. The secret of the network, which opens the keys of
validators, opens nothing here.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import msgspec

from node.client.chain import KEY_FILE, TLS_KEY_FILE
from node.config import Address
from node.crypto.keystore import KeyFileSecret, KeyPurpose, lock_anew
from node.gateway.home import SECRET_FILE, Settings, make_gateway, write_settings
from node.operations.compose import (
    GATEWAY_FOLDER,
    GATEWAY_PORT,
    GATEWAY_SECRET_FILE,
    GATEWAY_SECRET_PATH,
    container_endpoints,
)
from node.operations.provision import GATEWAY_IDENTITY, update_toml
from node.operations.topology import CA_BUNDLE_FILE, GENESIS_FILE, Topology
from node.operations.topology import SECRET_FILE as NETWORK_SECRET_FILE

CLIENT_FOLDER: Final = "client"
_LISTEN: Final = f"0.0.0.0:{GATEWAY_PORT}"
"""In its container, whose ports are published one by one."""


def make_container_gateway(
    network: Path, topology: Topology, published: Address, names: tuple[str, ...] = ()
) -> None:
    """Make the home of a gateway in the folder of a network, which has an identity for it.

    Applications reach it at `published`, and by `names` (`host:port`).
    """
    folder, client = network / GATEWAY_FOLDER, network / "clients" / GATEWAY_IDENTITY
    known_as = tuple(dict.fromkeys((str(published), *names)))
    settings = Settings(version=1, profile="", listen=_LISTEN, names=known_as)
    made = make_gateway(folder, client / "profile.toml", settings)
    opens = KeyFileSecret.load(network / NETWORK_SECRET_FILE)
    for file, purpose in ((KEY_FILE, KeyPurpose.IDENTITY), (TLS_KEY_FILE, KeyPurpose.TLS)):
        lock_anew(client / file, opens, made.secret, purpose)
    for file in (GENESIS_FILE, CA_BUNDLE_FILE):
        shutil.copyfile(network / file, client / file)
    changes = {
        "ca_bundle": CA_BUNDLE_FILE,
        "genesis": GENESIS_FILE,
        "key_file": GATEWAY_SECRET_PATH,
        "endpoints": container_endpoints(topology),
    }
    update_toml(client / "profile.toml", changes)
    client.rename(folder / CLIENT_FOLDER)
    (folder / SECRET_FILE).rename(network / GATEWAY_SECRET_FILE)
    inside = msgspec.structs.replace(
        made.settings, profile=f"{CLIENT_FOLDER}/profile.toml", key_file=GATEWAY_SECRET_PATH
    )
    write_settings(folder, inside)
