"""What makes the pure rooms a running validator. See README.md."""
