"""Verifies a COSE Receipt with pycose: FILE ROOT-HEX KEY-HEX (x and y). Prints what came of it."""

from __future__ import annotations

import sys
from pathlib import Path

from pycose.keys import EC2Key
from pycose.keys.curves import P256
from pycose.messages import Sign1Message

data, root, key = Path(sys.argv[1]).read_bytes(), *map(bytes.fromhex, sys.argv[2:4])
try:
    message = Sign1Message.decode(data)
    message.key = EC2Key(crv=P256, x=key[:32], y=key[32:])
    verdict = message.verify_signature(detached_payload=root)
except Exception as error:  # noqa: BLE001 - the library raises many kinds
    sys.exit(f"refused: {type(error).__name__}: {error}")
sys.exit(None if verdict else "refused: the signature is not valid")
