"""The error of the command line."""


class CommandError(Exception):
    """What the user asked for cannot be done; the message says why and what to do."""
