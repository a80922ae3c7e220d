"""`govchain bench`: load on a network of its own, and what it cost. See ../README.md."""
