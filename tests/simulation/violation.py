"""What an oracle says where it objects."""


class Violation(AssertionError):  # noqa: N818 - an oracle's verdict, not an error of the program
    """A rule is broken; the message begins with its name."""
