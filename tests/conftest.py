"""What holds for every test: only what the machine must not decide."""

from __future__ import annotations

import signal

# A shell that runs commands in the background has them ignore Ctrl-C, and so all that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
