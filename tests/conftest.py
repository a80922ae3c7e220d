"""What holds for every test: only what the machine must not decide."""

from __future__ import annotations

import signal

from hypothesis import settings

# A shell that runs commands in the background has them ignore Ctrl-C, and so all that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example may take is for the machine, which others use too.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
