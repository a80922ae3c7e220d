"""Secrets are found where they may be, and asked of a person only."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.cli.network import open_secret
from node.cli.verb import CommandError
from node.crypto.keystore import (
    KeyFileSecret,
    KeyPurpose,
    PassphraseSecret,
    generate_key,
    load_signer,
    save_key,
)
from node.crypto.suite import INTERNATIONAL
from tests.unit.cli.command import run


def test_a_passphrase_comes_from_the_environment_where_no_key_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOVCHAIN_PASSPHRASE", "several unrelated words")
    key = generate_key(KeyPurpose.VOTE, INTERNATIONAL)
    save_key(tmp_path / "key", key, PassphraseSecret("several unrelated words"), KeyPurpose.VOTE)
    opened = load_signer(tmp_path / "key", open_secret(None), KeyPurpose.VOTE)
    assert opened.public_key == key.public_key


def test_a_key_file_is_used_where_one_is_named(tmp_path: Path) -> None:
    KeyFileSecret.generate(tmp_path / "secret.key")
    assert isinstance(open_secret(tmp_path / "secret.key"), KeyFileSecret)


def test_without_either_nobody_is_asked_but_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOVCHAIN_PASSPHRASE", raising=False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    with pytest.raises(CommandError, match="GOVCHAIN_PASSPHRASE") as raised:
        open_secret(None)
    assert raised.value.code == "GC-2311"


def test_a_damaged_secret_ends_a_verb_with_its_fix(tmp_path: Path) -> None:
    home = tmp_path / "net"
    run("testnet", "init", "--home", home, "-n", 1)
    (home / "secret.key").chmod(0o644)
    ran = run("record", "list", "--home", home, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (2, "GC-1002")
    assert f"chmod 600 {home / 'secret.key'}" in ran.json["error"]["fix"]
