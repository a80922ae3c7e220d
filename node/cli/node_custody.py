"""`govchain node custody`: keys of a stopped validator moved into a device, and its PIN read."""

from __future__ import annotations

import sys
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from node.cli.choice import validator_home
from node.cli.passphrases import read_line
from node.cli.screen import Answer, Screen
from node.cli.verb import CommandError, Verb, verb

if TYPE_CHECKING:
    from node.config import CustodyConfig, NodeConfig
    from node.crypto.device import Device
    from node.crypto.keystore import KeyPurpose, KeySecret

_MOVABLE: Final = ("vote", "cosignature", "timestamp")

pin_option = click.option(
    "--pin-fd",
    type=click.IntRange(0, 65_535),
    help=_("Read the PIN of the device from this open file, one line. Default: ask for it."),
)
"""Adds `--pin-fd`. There is no option for the PIN itself: others see the arguments of a process."""


@click.command(
    "custody",
    cls=Verb,
    help=_(
        "Move keys of a stopped validator into the device that node.toml names, which never gives "
        "them out again. Where a key file lay, a reference remains. What backups hold of those "
        "files is still a key: destroy it. TLS needs its key in a file."
    ),
)
@validator_home
@click.option(
    "--key",
    "names",
    type=click.Choice(_MOVABLE),
    multiple=True,
    default=("vote",),
    show_default=True,
    help=_("What the key is for; may be given several times."),
)
@pin_option
@verb("node custody")
def custody(screen: Screen, *, home: Path, names: tuple[str, ...], pin_fd: int | None) -> Answer:
    """Move keys into a device."""
    from node.config import NODE_FILE, NodeConfig
    from node.crypto.device import DeviceSecret
    from node.crypto.keystore import move_to_device
    from node.errors import ConfigError
    from node.storage.lock import InstanceLock

    config = NodeConfig.load(home)
    with InstanceLock(config.home):
        secret = open_keys(config, pin_fd)
        if not isinstance(secret, DeviceSecret):
            raise ConfigError(
                f"{config.home / NODE_FILE}: names no device",
                fix="name it: custody.driver, custody.module and, of PKCS #11, custody.token",
            )
        moved = []
        for name in dict.fromkeys(names):
            path, purpose = _key_of(config.home, name)
            reference = move_to_device(path, secret, purpose)
            moved.append({"key": name, "id": reference.key_id.hex()})
            screen.line(_("moved into the device: {path}").format(path=path))
    return Answer({"validator": config.validator_id, "moved": moved})


def open_keys(config: NodeConfig, pin_fd: int | None) -> KeySecret:
    """Return what opens a validator's keys, its device included where it has one."""
    from node.cli.network import open_secret

    secret = open_secret(config.key_file)
    device = config.custody
    if device.module is None:
        return secret
    from node.crypto.device import DeviceSecret

    return DeviceSecret(secret, _open_device(device, device.module, _read_pin(pin_fd)))


def _open_device(settings: CustodyConfig, module: Path, pin: str) -> Device:
    if settings.driver == "sdf":
        from node.crypto.sdf_driver import SdfDevice

        return SdfDevice(module, pin)
    from node.crypto.pkcs11_driver import Pkcs11Device

    return Pkcs11Device(module, settings.token, pin)


def _key_of(home: Path, name: str) -> tuple[Path, KeyPurpose]:
    from node.crypto.keystore import KeyPurpose
    from node.service.home import COSIGNATURE_KEY_FILE, TSA_KEY_FILE, VOTE_KEY_FILE

    files = {
        KeyPurpose.VOTE: VOTE_KEY_FILE,
        KeyPurpose.COSIGNATURE: COSIGNATURE_KEY_FILE,
        KeyPurpose.TIMESTAMP: TSA_KEY_FILE,
    }
    purpose = KeyPurpose(name)
    return home / files[purpose], purpose


def _read_pin(descriptor: int | None) -> str:
    """Return the PIN from an open file, which is closed then, or from a person."""
    if descriptor is None:
        if not sys.stdin.isatty():
            raise CommandError("GC-2311", _("no --pin-fd, and nobody to ask for the PIN"))
        return str(click.prompt(_("PIN of the device"), hide_input=True, err=True))
    return read_line(descriptor, "--pin-fd")
