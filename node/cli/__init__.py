"""The command `govchain`, one file per verb. See README.md.

Importing this package chooses the catalogue of messages, which everything here and click look up
by LANGUAGE, LC_ALL, LC_MESSAGES and LANG.
"""

from __future__ import annotations

import gettext
from pathlib import Path
from typing import Final

MESSAGES_DOMAIN: Final = "govchain"
LOCALE_FOLDER: Final = Path(__file__).parent / "locale"

gettext.bindtextdomain(MESSAGES_DOMAIN, LOCALE_FOLDER)
gettext.textdomain(MESSAGES_DOMAIN)
