"""The ledger's data and its rules, free of IO. See README.md."""
