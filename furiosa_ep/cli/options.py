"""Command-line options that several commands have."""

import argparse

from furiosa_ep.options import OptionError, Options


def add_provider_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--option KEY=VALUE``, which collects provider options as pairs in `option`."""
    parser.add_argument(
        "--option",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        type=_provider_option,
        help="an option of FuriosaProvider, like claim=all (docs/options.md)",
    )


def _provider_option(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r}: expected KEY=VALUE")
    try:
        Options.parse({key: value})
    except OptionError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return key, value


def add_shape_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--shape NAME=1,3,224,224``, which collects shapes of inputs as pairs in `shape`."""
    parser.add_argument(
        "--shape",
        metavar="NAME=DIMS",
        action="append",
        default=[],
        type=_shape,
        help="the shape of an input, like images=1,3,224,224, where the model leaves it open",
    )


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, equals, dims = text.rpartition("=")
    try:
        shape = tuple(int(dim) for dim in dims.split(","))
    except ValueError:
        shape = (-1,)
    if not equals or min(shape) < 0:
        raise argparse.ArgumentTypeError(f"{text!r}: expected NAME=1,3,224,224")
    return name, shape
