"""What the X.509 library warns of while it reads certificates, kept from whoever runs this.

Anybody may hand in a certificate, and with it have the library print that it would rather refuse
it one day, or raise, where warnings are errors. The rules of this room decide, not the library's
version: what is to be refused is refused by them, and the rest of its remarks is ignored.
"""

from __future__ import annotations

import warnings
from typing import Final

_READERS: Final = r"node\.crypto\.(authority|certificate|revocation)$"


def ignore_remarks() -> None:
    """Have no warning told that the modules cause which read certificates; before each reading.

    A filter of theirs alone, put in front of others: nobody else's warnings are touched, and
    threads need not agree on when it ends, as they would with `warnings.catch_warnings`.
    """
    warnings.filterwarnings("ignore", module=_READERS)
