"""Sentences of the rooms below, told in the user's language. See README.md."""
