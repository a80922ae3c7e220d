"""pyHanko stamps a PDF with our tokens, and finds the stamp intact, valid and trusted."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from node.crypto.certificate import build_authority_certificate
from node.timestamp.tokens.issuing import Stamp, add_chain_proof, encode_granted
from node.timestamp.tokens.request import TimeStampRequest
from tests.outside.environments import PROGRAMS, RUN_TIMEOUT_S, python_with
from tests.unit.timestamp.authority import COORDINATES, ISSUANCE, ISSUER, ROOT, TIME_MS
from tests.vectors.receipt.chain import signer

OTHER_ROOT = build_authority_certificate(signer("another"), "another", ISSUANCE)


@pytest.mark.parametrize(("root", "is_trusted"), [(ROOT, True), (OTHER_ROOT, False)])
def test_a_stamped_pdf_is_valid(tmp_path: Path, root: bytes, *, is_trusted: bool) -> None:
    authority, stamped = tmp_path / "root.der", tmp_path / "stamped.pdf"
    authority.write_bytes(root)
    program_file = PROGRAMS / "with_pyhanko.py"
    command: list[str | Path] = [python_with("pyhanko"), "-I", program_file, authority, stamped]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        assert program.stderr is not None
        while size := int.from_bytes(program.stdout.read(4), "big"):
            request = TimeStampRequest.decode(program.stdout.read(size))
            token = ISSUER.issue(Stamp.answering(request, COORDINATES, TIME_MS))
            answer = encode_granted(add_chain_proof(token, bytes(3_000)))
            program.stdin.write(len(answer).to_bytes(4, "big") + answer)
            program.stdin.flush()
        program.stdin.close()
        said = program.stderr.read().decode()
        assert (program.wait(RUN_TIMEOUT_S) == 0) is is_trusted, said
    assert b"/DocTimeStamp" in stamped.read_bytes()
