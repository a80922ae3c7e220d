"""The parts of the gateway by themselves: rates, its store, its page, its folder."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest

from node.errors import ClientError, ConfigError, StorageError
from node.gateway import store as store_module
from node.gateway.api import _expect_key
from node.gateway.applications import (
    Application,
    Applications,
    read_applications,
    write_applications,
)
from node.gateway.endpoints import ENDPOINTS
from node.gateway.home import GatewayHome
from node.gateway.openapi import KEY_PATTERN, build_page
from node.gateway.problems import Refusal
from node.gateway.rates import Rates
from node.gateway.store import KEPT_MS, GatewayStore, KeyUse
from tests.unit.cli.command import run

PEM_1 = """-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA6kpsY+Kcur3o0GbZcHqA5Vv+TTqXa3xWQsGbU0nQ2wQ=
-----END PUBLIC KEY-----
"""


# --- Rates ---


def test_an_allowance_fills_evenly_and_never_beyond_its_burst() -> None:
    rates = Rates(burst_s=10)
    assert [rates.wait_ms("a", 60, 0) for _ in range(11)] == [0] * 10 + [1_000]
    assert rates.wait_ms("b", 60, 0) == 0  # another's is another's
    assert rates.wait_ms("a", 60, 999) == 1
    assert rates.wait_ms("a", 60, 1_000) == 0
    assert rates.wait_ms("a", 60, 1_000) == 1_000
    assert [rates.wait_ms("a", 60, 10**9) for _ in range(11)] == [0] * 10 + [1_000]


def test_one_request_a_minute_is_one_a_minute() -> None:
    rates = Rates()
    assert rates.wait_ms("a", 1, 0) == 0
    assert rates.wait_ms("a", 1, 0) == 60_000
    assert rates.wait_ms("a", 1, 60_000) == 0


# --- The store ---


def test_a_nonce_is_used_once_until_its_time_is_over(tmp_path: Path) -> None:
    store = GatewayStore(tmp_path)
    assert store.use_nonce("a", "n", 0, 100)
    assert not store.use_nonce("a", "n", 50, 150)
    assert store.use_nonce("b", "n", 50, 150)
    store.close()
    again = GatewayStore(tmp_path)  # a restart forgets nothing
    assert not again.use_nonce("a", "n", 100, 200)
    assert again.use_nonce("a", "n", 101, 200)
    again.close()


def test_nonces_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "NONCES_MAX", 2)
    store = GatewayStore(tmp_path)
    assert store.use_nonce("a", "1", 0, 100)
    assert store.use_nonce("a", "2", 0, 100)
    with pytest.raises(ClientError, match="too many"):
        store.use_nonce("a", "3", 0, 100)
    assert store.use_nonce("a", "3", 101, 200)
    store.close()


def test_a_request_is_gone_on_with_where_it_was_left(tmp_path: Path) -> None:
    store = GatewayStore(tmp_path)
    assert store.begin("a", "k", b"f", 0).use is KeyUse.NEW
    assert store.begin("a", "k", b"f", 0).use is KeyUse.UNFINISHED
    store.keep_signed("a", "k", b"signed")
    store.close()
    store = GatewayStore(tmp_path)
    kept = store.begin("a", "k", b"f", 1)
    assert (kept.use, kept.signed) == (KeyUse.UNFINISHED, b"signed")
    assert store.begin("a", "k", b"other", 1).use is KeyUse.OTHER
    assert store.begin("b", "k", b"other", 1).use is KeyUse.NEW
    store.finish("a", "k", 201, b"body")
    kept = store.begin("a", "k", b"f", KEPT_MS)
    assert (kept.use, kept.status, kept.body) == (KeyUse.FINISHED, 201, b"body")
    assert store.begin("a", "k", b"other", KEPT_MS + 1).use is KeyUse.NEW  # a day later
    store.close()


def test_requests_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "REQUESTS_MAX", 1)
    store = GatewayStore(tmp_path)
    store.begin("a", "1", b"", 0)
    with pytest.raises(ClientError, match="too many"):
        store.begin("a", "2", b"", 0)
    assert store.begin("b", "2", b"", 0).use is KeyUse.NEW
    store.close()


def test_a_damaged_store_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "state.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(StorageError, match=r"state\.sqlite"):
        GatewayStore(tmp_path)


# --- The page ---


def test_the_committed_page_is_what_the_code_says() -> None:
    assert Path("proto/openapi.json").read_bytes() == build_page(), (
        "python -m node gateway openapi --out proto/openapi.json"
    )


def test_the_page_describes_every_endpoint_and_resolves() -> None:
    page = json.loads(build_page())
    assert page["openapi"] == "3.1.0"
    described = {(method.upper(), path) for path, row in page["paths"].items() for method in row}
    assert described == {(each.method, each.path) for each in ENDPOINTS}
    text = json.dumps(page)
    for name in page["components"]["schemas"]:
        assert name
    for reference in {part.partition('"')[0] for part in text.split('"$ref": "#/')[1:]}:
        found = page
        for step in reference.split("/"):
            found = found[step]


# --- The folder ---


def test_applications_are_checked(tmp_path: Path) -> None:
    good = Application(name="a", keys=(PEM_1,), rights=("read",))
    write_applications(tmp_path, (good,))
    assert read_applications(tmp_path) == (good,)
    for wrong, cause in (
        (msgspec.structs.replace(good, name="A b"), "letters"),
        (msgspec.structs.replace(good, keys=()), "keys"),
        (msgspec.structs.replace(good, keys=("no key",)), "PEM"),
        (msgspec.structs.replace(good, rights=()), "rights"),
        (msgspec.structs.replace(good, rights=("all",)), "rights"),
        (msgspec.structs.replace(good, requests_per_minute=0), "requests"),
    ):
        with pytest.raises(ConfigError, match=cause):
            write_applications(tmp_path, (wrong,))
    with pytest.raises(ConfigError, match="each name once"):
        write_applications(tmp_path, (good, good))
    with pytest.raises(ConfigError, match="is in use"):
        write_applications(tmp_path, (good, msgspec.structs.replace(good, name="b")))
    assert read_applications(tmp_path) == (good,)
    (tmp_path / "applications.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"applications\.json"):
        Applications(tmp_path).find("x")


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ('listen = "0.0.0.0:8443"\ntls = false', "not loopback"),
        ('listen = "8443"', "host:port"),
        ("log_minutes = -1", "log_minutes"),
        ("other = 1", "other"),
        ("version = 2", "version"),
    ],
)
def test_settings_are_checked(tmp_path: Path, text: str, cause: str) -> None:
    base = "" if "version" in text else "version = 1\n"
    (tmp_path / "gateway.toml").write_text(f'{base}profile = "p"\n{text}\n')
    with pytest.raises(ConfigError, match=cause):
        GatewayHome.load(tmp_path)


def test_a_gateway_is_made_in_an_empty_folder_alone(tmp_path: Path) -> None:
    assert run("testnet", "init", "--home", tmp_path / "net", "-n", 1).code == 0
    profile = tmp_path / "net/clients/agency-1/profile.toml"
    made = run("gateway", "init", tmp_path / "gw", "--profile", profile, "--json")
    assert made.code == 0
    assert {path.name for path in (tmp_path / "gw").iterdir()} == {
        "applications.json",
        "ca.key",
        "ca.pem",
        "gateway.toml",
        "secret.key",
        "tls.key",
        "tls.pem",
        "webhook.key",
    }
    for path in (tmp_path / "gw").glob("*.key"):
        assert path.stat().st_mode & 0o077 == 0
    again = run("gateway", "init", tmp_path / "gw", "--profile", profile, "--json")
    assert again.json["error"]["code"] == "GC-2706"
    assert run("gateway", "app", "list", tmp_path / "gw", "--json").json["applications"] == []


@pytest.mark.parametrize("form", ["{}", "a{}b", '"{}"', '"a{}"', '"'])
def test_the_page_says_of_idempotency_keys_what_is_taken(form: str) -> None:
    """Found by Schemathesis: keys were taken that the page did not allow."""
    for number in range(0x21 if form == "{}" else 0x20, 0x7F):  # HTTP cuts blanks off the ends
        key = form.format(chr(number))
        try:
            _expect_key(key)
            is_taken = True
        except Refusal:
            is_taken = False
        assert (re.search(KEY_PATTERN, key) is not None) == is_taken, key
    for length, is_allowed in ((128, True), (129, False)):
        assert (re.search(KEY_PATTERN, "k" * length) is not None) == is_allowed
