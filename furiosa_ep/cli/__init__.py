"""The command ``furiosa``: one module per subcommand."""

from furiosa_ep.cli.main import main

__all__ = ["main"]
