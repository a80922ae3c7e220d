"""The page with plots: one HTML file that needs nothing else. See ../README.md."""
