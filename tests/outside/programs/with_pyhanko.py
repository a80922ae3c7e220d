"""Stamps a small PDF with tokens that it asks for on standard output, and validates the result.

with_pyhanko.py ROOT OUT: ROOT is the authority's certificate (DER), OUT the PDF to write. Requests
and answers are DER, each after its length in 4 bytes; an empty request says that no more will come.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from asn1crypto import tsp, x509
from pyhanko.pdf_utils.generic import StreamObject
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.pdf_utils.writer import PageObject, PdfFileWriter
from pyhanko.sign import PdfTimeStamper
from pyhanko.sign.timestamps import TimeStamper
from pyhanko.sign.validation import validate_pdf_timestamp
from pyhanko_certvalidator import ValidationContext


def say(data: bytes) -> None:
    """Write one message."""
    sys.stdout.buffer.write(len(data).to_bytes(4, "big") + data)
    sys.stdout.buffer.flush()


class Piped(TimeStamper):  # type: ignore[misc] # a library that is not here to be read
    """Asks whoever runs this program."""

    async def async_request_tsa_response(self, req: tsp.TimeStampReq) -> tsp.TimeStampResp:
        """Send a request and read its answer."""
        say(req.dump())
        size = int.from_bytes(sys.stdin.buffer.read(4), "big")
        return tsp.TimeStampResp.load(sys.stdin.buffer.read(size))


def main() -> None:
    """Stamp and validate."""
    root = x509.Certificate.load(Path(sys.argv[1]).read_bytes())
    writer = PdfFileWriter()
    page = PageObject(
        contents=writer.add_object(StreamObject(stream_data=b"q Q")), media_box=(0, 0, 200, 100)
    )
    writer.insert_page(page)
    plain = io.BytesIO()
    writer.write(plain)
    stamped = PdfTimeStamper(Piped()).timestamp_pdf(IncrementalPdfFileWriter(plain), "sha256")
    say(b"")
    data = stamped.getvalue()
    Path(sys.argv[2]).write_bytes(data)
    (signature,) = PdfFileReader(io.BytesIO(data)).embedded_timestamp_signatures
    status = validate_pdf_timestamp(signature, ValidationContext(trust_roots=[root]))
    if not (status.intact and status.valid and status.trusted):
        sys.exit(f"refused: {status.summary()}")


main()
