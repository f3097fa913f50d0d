"""Where the data files of packages are."""

import sys
from pathlib import Path


def package_file(*parts: str) -> Path:
    """The path of a data file of furiosa_ep, whether or not there is one."""
    return file_in_package(__name__.partition(".")[0], *parts)


def file_in_package(package: str, *parts: str) -> Path:
    """The path of a data file of an imported package, whether or not there is one.

    An editable installation has several folders. importlib.resources would find the file as well,
    but imports archives, compression and temporary files for that.
    """
    candidates = [Path(folder).joinpath(*parts) for folder in sys.modules[package].__path__]
    return next((path for path in candidates if path.exists()), candidates[0])


def get_include() -> str:
    """The folder of furiosa_ep.h, for the compilers of kernels in C and C++."""
    return str(package_file("include"))
