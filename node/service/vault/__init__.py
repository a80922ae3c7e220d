"""What a node keeps for the vault: sealed objects, brought to it, checked, destroyed."""
