"""Signs a small PDF, has the signature stamped over HTTP, and validates both.

sign_with_pyhanko.py URL ROOTS OUT: URL is the time-stamping authority's, ROOTS the certificates to
believe it by (PEM), OUT the PDF to write. The signer is made here, and believed only as a signer.
"""

from __future__ import annotations

import io
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from asn1crypto import keys
from asn1crypto import x509 as tree
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pyhanko.keys import load_certs_from_pemder
from pyhanko.pdf_utils.generic import StreamObject
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.pdf_utils.writer import PageObject, PdfFileWriter
from pyhanko.sign import PdfSignatureMetadata, signers
from pyhanko.sign.timestamps import HTTPTimeStamper
from pyhanko.sign.validation import validate_pdf_signature
from pyhanko_certvalidator import ValidationContext
from pyhanko_certvalidator.registry import SimpleCertificateStore

DAY = timedelta(days=1)


def make_signer() -> signers.SimpleSigner:
    """Return a signer with a certificate of its own making."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name.from_rfc4514_string("CN=clerk")
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=True, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=False, crl_sign=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return signers.SimpleSigner(
        signing_cert=tree.Certificate.load(certificate.public_bytes(serialization.Encoding.DER)),
        signing_key=keys.PrivateKeyInfo.load(private),
        cert_registry=SimpleCertificateStore(),
    )


def main() -> None:
    """Sign, stamp and validate."""
    url, roots, out = sys.argv[1:]
    writer = PdfFileWriter()
    page = PageObject(
        contents=writer.add_object(StreamObject(stream_data=b"q Q")), media_box=(0, 0, 200, 100)
    )
    writer.insert_page(page)
    plain, signer = io.BytesIO(), make_signer()
    writer.write(plain)
    signed = signers.sign_pdf(
        IncrementalPdfFileWriter(plain),
        PdfSignatureMetadata(field_name="Signature", md_algorithm="sha256"),
        signer=signer,
        timestamper=HTTPTimeStamper(url),
    )
    Path(out).write_bytes(signed.getvalue())
    (signature,) = PdfFileReader(signed).embedded_signatures
    status = validate_pdf_signature(
        signature,
        ValidationContext(trust_roots=[signer.signing_cert]),
        ts_validation_context=ValidationContext(trust_roots=list(load_certs_from_pemder([roots]))),
    )
    stamp = status.timestamp_validity
    if stamp is None or not (stamp.intact and stamp.valid and stamp.trusted):
        sys.exit(f"refused: {'no time stamp' if stamp is None else stamp.summary()}")
    if not status.bottom_line:
        sys.exit(f"refused: {status.summary()}")


main()
