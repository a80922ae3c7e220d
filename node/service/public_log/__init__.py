"""What of the log is public, and how a quorum vouches for it. See ../README.md."""
