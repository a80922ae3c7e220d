"""The verbs of the vault: content sealed here, kept by nodes, opened by whom it is granted."""
