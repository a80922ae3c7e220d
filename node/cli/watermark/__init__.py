"""Copies that can be told apart: marked for a recipient, and found out again."""
