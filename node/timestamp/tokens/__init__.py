"""Time-stamp tokens (RFC 3161): asked for, issued, read and judged. See ../README.md."""
