"""Showing some fields of a record and hiding the others: a room with a page, node/disclosure."""
