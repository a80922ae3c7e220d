"""Receipts, trust files and their verification offline, free of IO. See README.md."""
