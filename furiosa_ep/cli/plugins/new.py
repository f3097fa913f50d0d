"""Write a plugin: a package with an operator of its own domain, its kernel, and tests that pass.

The kernel is native, in C or compiled by numba, or in NumPy, which takes Python's GIL.
"""

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from string import Template

from furiosa_ep.partitioner.descriptors import CommandError

NAME = "new"
HELP = "write the package of a plugin, with tests"

KERNELS = ("c", "numba", "numpy")
_PREFIX = "furiosa-ep-"
_ALLOWED = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
_OPTIONS = {"numpy": '{"claim": "all", "python_kernels": "allow"}'}
_SUFFIX = ".template"
_NEXT = """\
{folder} is a plugin: it teaches the NPU {module}:PeakNormalize. Next:

  cd {folder}
  pip install scikit-build-core cmake ninja
  pip install --no-build-isolation --editable ".[test]"
  furiosa plugins check {name}
  pytest

Then put your operator in place of PeakNormalize (README.md says what is where)."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "name", metavar="NAME", help="of the plugin: lower-case words and - between them"
    )
    parser.add_argument(
        "--kernel", choices=KERNELS, default="c", help="what the kernel is written in (c)"
    )
    parser.add_argument(
        "--folder", type=Path, default=Path(), help="where furiosa-ep-NAME goes (here)"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Write the package, and print what to do with it."""
    name = checked_name(arguments.name)
    folder = write(arguments.folder, name, arguments.kernel)
    print(_NEXT.format(folder=folder, module=name.replace("-", "_"), name=name))
    return 0


def write(parent: Path, name: str, kernel: str) -> Path:
    """Write the package of a plugin to a new folder of `parent`; returns that.

    Raises:
        CommandError: where it exists already.
    """
    folder = parent / f"{_PREFIX}{name}"
    if folder.exists():
        raise CommandError(f"{folder} exists already: give another name or --folder")
    for path, text in rendered(name, kernel).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return folder


def checked_name(name: str) -> str:
    """The name of a plugin as its entry point has it.

    Raises:
        CommandError: where it is no name for one.
    """
    own = name.removeprefix(_PREFIX)
    if not _ALLOWED.fullmatch(own):
        raise CommandError(
            f"name {name!r}: expected lower-case words of letters and digits with - between them, "
            "like 'audio-kernels'"
        )
    own = own.replace("_", "-")
    if own == "furiosa-ep":
        raise CommandError(f"name {name!r} is that of the built-in plugin: choose another one")
    return own


def rendered(name: str, kernel: str) -> Mapping[str, str]:
    """The files of a plugin: their texts by their paths.

    Args:
        name: as `checked_name` gives it.
        kernel: one of KERNELS.
    """
    from furiosa_ep.files import package_file

    module = name.replace("-", "_")
    values = {
        "name": name,
        "module": module,
        "distribution": f"{_PREFIX}{name}",
        "package": f"furiosa_ep_{module}",
        "opcode": module.upper(),
        "options": _OPTIONS.get(kernel, '{"claim": "all"}'),
    }
    files = {}
    for part in ("common", kernel):
        folder = package_file("cli", "plugins", "skeleton", part)
        for template in sorted(folder.rglob(f"*{_SUFFIX}")):
            path = template.relative_to(folder).as_posix().removesuffix(_SUFFIX)
            path = path.replace("PACKAGE", values["package"]).replace("MODULE", module)
            files[path] = Template(template.read_text(encoding="utf-8")).substitute(values)
    return files
