"""Arguments that commands share."""

import argparse
from collections.abc import Callable

from furiosa_ep.furiosactl.formats import Format


def add_format(parser: argparse.ArgumentParser) -> None:
    """Add ``--format``, which is a Format in `format`."""
    parser.add_argument(
        "--format",
        type=_format,
        default=Format.TABLE,
        metavar="FORMAT",
        help="table (the default), json or yaml",
    )


def integer(least: int, most: int) -> Callable[[str], int]:
    """The type of an argument that is an integer between two limits, both allowed."""

    def convert(text: str) -> int:
        number = int(text) if text.isascii() and text.isdecimal() and len(text) < 12 else -1
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(
                f"{text!r}: expected an integer from {least} to {most}"
            )
        return number

    return convert


def _format(text: str) -> Format:
    try:
        return Format(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected one of {', '.join(Format)}") from None
