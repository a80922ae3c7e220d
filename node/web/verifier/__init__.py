"""The verifier that is one HTML file: receipts checked in a browser, from disk, offline."""
