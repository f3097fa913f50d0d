"""The same facts as a table for people, or as JSON or YAML for programs."""

import argparse
import enum
import json
import sys
from collections.abc import Iterable, Mapping, Sequence


class Format(enum.StrEnum):
    """How facts are written."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


def add_format(parser: argparse.ArgumentParser) -> None:
    """Add ``--format``, which is a Format in `format`."""
    parser.add_argument(
        "--format",
        type=Format,
        choices=list(Format),
        default=Format.TABLE,
        metavar="FORMAT",
        help="table (the default), json or yaml",
    )


def show(
    form: Format,
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    records: Sequence[Mapping[str, object]],
) -> None:
    """Print rows as a table, or the records that say the same."""
    if form is Format.TABLE:
        print(table(header, rows))
    elif form is Format.JSON:
        print(to_json(records, indent=2))
    else:
        print("\n".join(map(to_yaml, records)) if records else "[]")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A grid with a line below the header."""
    cells = [list(header), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
    lines = [
        "| " + " | ".join(map(str.ljust, row, widths)) + " |"  # a cell for each column
        for row in cells
    ]
    body = [*lines[1:], rule] if len(lines) > 1 else []
    return "\n".join([rule, lines[0], rule, *body])


def to_json(value: object, indent: int | None = None) -> str:
    """JSON with nothing but characters that the terminal shows, and does nothing for."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    ascii_only = not encoding.lower().startswith("utf")
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    return "".join(
        one if one.isprintable() or one == "\n" else json.dumps(one)[1:-1] for one in text
    )


def to_yaml(record: Mapping[str, object]) -> str:
    """A record as an element of a list in block style; its values are JSON, which YAML contains."""
    lines = [f"{key}: {to_json(value)}" for key, value in record.items()]
    return "- " + "\n  ".join(lines)


def printable(text: str) -> str:
    """The text, without what would make a terminal do something."""
    return "".join(one if one.isprintable() else "?" for one in text)
