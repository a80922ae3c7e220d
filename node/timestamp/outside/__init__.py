"""Time stamps of authorities outside the chain, and what they say of the chain."""
