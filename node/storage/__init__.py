"""Storage: everything that touches the disk. It knows bytes and durability, not the protocol."""
