"""A receipt on paper: the PDF certificate, its texts, its page and its font. See README.md."""
