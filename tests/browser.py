"""Pages in a headless browser."""

import shutil
import subprocess
from pathlib import Path

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --enable-logging=stderr"
)

needs_browser = pytest.mark.skipif(BROWSER is None, reason="needs chromium")


def shown(page: str, folder: Path) -> tuple[str, list[str]]:
    """The document after its scripts ran, and what they have said on the console."""
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    return visited(path.as_uri(), folder)


def visited(address: str, folder: Path) -> tuple[str, list[str]]:
    """As `shown`, for the page at an address, when all of it has been loaded."""
    done = subprocess.run(
        [
            str(BROWSER),
            *ARGUMENTS.split(),
            "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",  # nothing from elsewhere
            f"--user-data-dir={folder / 'profile'}",
            "--dump-dom",
            address,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]
