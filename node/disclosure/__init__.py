"""What is shown of personal data, to whom, and how the rest stays hidden: pure. See README.md."""
