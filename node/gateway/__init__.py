"""REST for applications, beside gRPC. See README.md."""
