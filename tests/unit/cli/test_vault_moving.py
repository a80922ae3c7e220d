"""What a document of the vault is called where it is written."""

from __future__ import annotations

import pytest

from node.cli.vault.moving import name_to_write


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("决定书.pdf", "决定书.pdf"),
        ("", "document"),
        (".", "document"),
        ("..", "document"),
        ("../../etc/passwd", "passwd"),
        ("/srv/.ssh/authorized_keys", "authorized_keys"),
        (".bash_profile", "bash_profile"),
        ("...hidden", "hidden"),
    ],
)
def test_who_puts_a_document_chooses_no_place_and_hides_nothing(given: str, written: str) -> None:
    assert name_to_write(given) == written
