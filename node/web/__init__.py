"""What a node serves over HTTP. See README.md."""
