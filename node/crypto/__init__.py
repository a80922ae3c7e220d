"""Algorithms, keys and certificates; knows nothing of blocks. See README.md."""
