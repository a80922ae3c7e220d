"""How a node that is behind comes to where the others are, and what it gives. See README.md."""
