"""gRPC between validators and with clients. See README.md."""
