"""Check what is in a wheel: library, header, all modules and templates, but no native source."""

import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def problems(wheel: Path) -> list[str]:
    """What is wrong with the wheel's name or contents."""
    found = []
    if "-py3-none-" not in wheel.name:
        found.append(f"{wheel.name}: expected the tag py3-none-<platform>")
    names = set(zipfile.ZipFile(wheel).namelist())
    required = {str(path.relative_to(ROOT / "furiosa_ep")) for path in _modules()}
    required |= {"libfuriosa_ep.so", "py.typed"}
    required |= {f"include/furiosa_{name}" for name in ("ep.h", "opcodes.def")}
    found += [f"missing: {name}" for name in sorted(required) if f"furiosa_ep/{name}" not in names]
    found += [
        f"should not be there: {name}"
        for name in sorted(names)
        if "/native/" in name or not name.startswith(("furiosa_ep/", "furiosa_ep-"))
    ]
    return found


def _modules() -> list[Path]:
    package = ROOT / "furiosa_ep"
    folders = [package, *(path for path in package.iterdir() if path.is_symlink())]
    modules = [path for folder in folders for path in folder.rglob("*.py")]
    data = ("*.template", "*.css", "*.js")
    modules += [path for folder in folders for one in data for path in folder.rglob(one)]
    return [path for path in modules if "native" not in path.parts]


if __name__ == "__main__":
    wrong = problems(Path(sys.argv[1]))
    sys.stderr.writelines(f"{line}\n" for line in wrong)
    sys.exit(bool(wrong))
