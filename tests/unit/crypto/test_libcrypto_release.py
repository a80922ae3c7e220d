"""Which libcrypto may sign by SM2 with a key that is kept."""

from __future__ import annotations

import pytest

from node.crypto import libcrypto_release
from node.crypto.libcrypto_release import (
    ACCEPTED_VARIABLE,
    debian_package,
    is_mended,
    require_mended,
)
from node.errors import CryptoError


@pytest.mark.parametrize(
    ("version", "package", "mended"),
    [
        ((3, 0, 23), "", True),
        ((3, 0, 22), "", False),
        ((3, 0, 22), "3.0.22-1~deb12u2", True),
        ((3, 0, 22), "3.0.22-1~deb12u10", True),
        ((3, 0, 22), "3.0.22-1~deb12u1", False),
        ((3, 0, 22), "3.0.22-1~deb12u2+local", False),
        ((3, 0, 19), "3.0.19-1~deb12u2", False),
        ((3, 1, 99), "", False),  # a series that had no such release
        ((3, 4, 8), "", True),
        ((3, 5, 7), "3.5.7-1~deb13u3", True),
        ((3, 5, 8), "", False),
        ((3, 5, 9), "", True),
        ((3, 6, 4), "", False),
        ((4, 0, 2), "", False),
        ((4, 0, 3), "", True),
        ((4, 1, 0), "", True),
    ],
)
def test_what_is_mended_is_told_by_the_series_or_by_the_package(
    version: tuple[int, int, int], package: str, *, mended: bool
) -> None:
    assert is_mended(version, package) is mended


def test_one_that_is_not_known_to_be_mended_signs_only_where_it_was_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(libcrypto_release, "is_mended", lambda _version, _package: False)
    monkeypatch.setattr(libcrypto_release, "debian_package", lambda _version: "3.0.19-1~deb12u2")
    monkeypatch.delenv(ACCEPTED_VARIABLE, raising=False)
    with pytest.raises(CryptoError, match=r"release 3\.0\.19-1~deb12u2 is not known") as refused:
        require_mended((3, 0, 19))
    assert refused.value.fix is not None
    assert f"{ACCEPTED_VARIABLE}=3.0.19-1~deb12u2" in refused.value.fix
    monkeypatch.setenv(ACCEPTED_VARIABLE, "3.0.18-1~deb12u2")
    with pytest.raises(CryptoError):
        require_mended((3, 0, 19))
    monkeypatch.setenv(ACCEPTED_VARIABLE, "3.0.19-1~deb12u2")
    require_mended((3, 0, 19))


def test_a_package_of_another_version_says_nothing_of_the_library_in_use() -> None:
    assert debian_package("0.0.0") == ""
