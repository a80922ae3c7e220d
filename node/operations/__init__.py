"""Making and running the many nodes of one network. See README.md."""
