"""The log in public form (C2SP): notes, checkpoints, tiles, proofs. See ../README.md."""
