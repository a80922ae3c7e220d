"""Evidence records (RFC 4998): that files existed, provable after keys and algorithms have aged."""
