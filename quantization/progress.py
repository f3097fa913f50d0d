"""A progress bar on a terminal, where tqdm is installed."""

import sys
from collections.abc import Iterable
from typing import Any, TypeVar

from furiosa_ep.quantization.samples import known_length

T = TypeVar("T")


def progress(items: Iterable[T], title: str, source: Any = None) -> Iterable[T]:
    """The items, with a bar on standard error where that is a terminal.

    There are as many as `source` has, if it can tell.
    """
    if not sys.stderr.isatty():
        return items
    try:
        from tqdm import tqdm
    except ImportError:
        return items
    total = known_length(source) or None
    bar: Iterable[T] = tqdm(items, title, total, leave=False)
    return bar
