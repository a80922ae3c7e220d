"""gRPC between validators and with clients. See README.md."""

import os

# gRPC's core writes to standard error by itself, every lost connection included; what matters of it
# comes back as errors and states. It reads this once, when it is first imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
