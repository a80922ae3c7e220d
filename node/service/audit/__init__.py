"""A chain executed again from genesis, and the report of it. See ../README.md."""
