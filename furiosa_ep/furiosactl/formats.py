"""The same facts as a table for people, or as JSON or YAML for programs."""

import enum
import json
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

_LEAST = 12
"""A text is not cut to less than so many columns of the terminal."""


class Format(enum.StrEnum):
    """How facts are written."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


def show(
    form: Format,
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    records: Sequence[Mapping[str, object]],
    *,
    cut_last: bool = False,
) -> None:
    """Print rows as a table, or the records that say the same.

    `cut_last` lets the last column of a table end where the terminal does.
    """
    if form is Format.TABLE:
        print(table(header, rows, cut_last=cut_last))
    elif form is Format.JSON:
        print(to_json(records, indent=2))
    else:
        print("\n".join(map(to_yaml, records)) if records else "[]")


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, cut_last: bool = False) -> str:
    """A grid with a line below the header; `cut_last` as for `show`."""
    cells = [list(header), *([printable(cell) for cell in row] for row in rows)]
    if cut_last:
        others = [max(map(width, column)) + 3 for column in list(zip(*cells, strict=True))[:-1]]
        for row in cells:
            row[-1] = cut(row[-1], sum(others) + 4)
    widths = [max(map(width, column)) for column in zip(*cells, strict=True)]
    rule = "+" + "+".join("-" * (size + 2) for size in widths) + "+"
    lines = [
        "| " + " | ".join(map(_padded, row, widths)) + " |"  # a cell for each column
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


def width(text: str) -> int:
    """The columns that a text takes in a terminal."""
    return sum(
        2 if unicodedata.east_asian_width(one) in "WF" else not unicodedata.combining(one)
        for one in text
    )


def cut(text: str, taken: int) -> str:
    """The text, as far as a line of the terminal has room for it behind so many columns.

    All of it where the output goes somewhere else.
    """
    if sys.stdout is None or not sys.stdout.isatty():
        return text
    room = max(_LEAST, shutil.get_terminal_size().columns - taken)
    if width(text) <= room:
        return text
    while width(text) >= room:
        text = text[:-1]
    return text + "…"


def _padded(text: str, columns: int) -> str:
    return text + " " * (columns - width(text))


def printable(text: str) -> str:
    """The text, without what would make a terminal do something."""
    return "".join(one if one.isprintable() else "?" for one in text)
