"""CAs that an organisation is given: read by the suite of the chain, and one that TLS can use."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.cli.credentials import read_authorities
from node.cli.verb import CommandError
from node.crypto.certificate import encode_pem
from node.crypto.suite import INTERNATIONAL, NATIONAL
from tests.unit.timestamp.authority import ROOT
from tests.unit.timestamp.national_authority import SM2_ROOT


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "p256.pem", tmp_path / "sm2.pem"
    for path, certificate in zip(paths, (ROOT, SM2_ROOT), strict=True):
        path.write_bytes(encode_pem(certificate))
    return paths


def test_a_national_chain_takes_a_ca_of_sm2_beside_one_that_tls_can_use(
    files: tuple[Path, Path],
) -> None:
    p256, sm2 = files
    assert read_authorities([sm2, p256], NATIONAL) == (ROOT, SM2_ROOT)
    assert read_authorities([p256], NATIONAL) == (ROOT,)


def test_a_ca_of_sm2_alone_would_shut_its_organisation_out(files: tuple[Path, Path]) -> None:
    with pytest.raises(CommandError, match="TLS knows no SM2") as refused:
        read_authorities([files[1]], NATIONAL)
    assert refused.value.fault.code == "GC-2303"


def test_an_international_chain_takes_none_of_sm2(files: tuple[Path, Path]) -> None:
    with pytest.raises(CommandError, match="expected a key of one of P-256, P-384, RSA, got SM2"):
        read_authorities(files, INTERNATIONAL)
