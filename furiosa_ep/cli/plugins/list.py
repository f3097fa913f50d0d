"""Show all plugins: what they are, what each gives by which hook, and what is wrong with it.

Exits with 1 where a plugin has a problem. Operators have the opsets that they are supported for:
13+ is 13 and all later ones.
"""

import argparse

from furiosa_ep.partitioner.descriptors import CommandError

NAME = "list"
HELP = "show all plugins and what they give"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("--json", action="store_true", help="print JSON (docs/cli.md)")


def execute(arguments: argparse.Namespace) -> int:
    """Print what is there."""
    from furiosa_ep.cli.plugins import inventory
    from furiosa_ep.partitioner.plugins import examined_plugins
    from furiosa_ep.partitioner.registry import PluginError

    try:
        plugins = examined_plugins()
    except PluginError as error:  # in strict mode
        raise CommandError(str(error), code=1) from error
    print(inventory.as_json(plugins) if arguments.json else inventory.as_text(plugins))
    return int(any(plugin.problem for plugin in plugins))
