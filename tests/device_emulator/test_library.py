"""Finding, loading and calling the native library."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from furiosa_ep.device_emulator import checksum, load_library
from furiosa_ep.device_emulator.library import _PROTOTYPES

HEADER = Path(__file__).resolve().parents[2] / "furiosa_ep/include/furiosa_ep.h"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0xEF46DB3751D8E999),
        (b"a", 0xD24EC4F1A98C6E5B),
        (b"abc", 0x44BC2CF5AD770999),
        (b"Nobody inspects the spammish repetition", 0xFBCEA83C8A378BF1),
    ],
)
def test_checksum_is_xxh64(data: bytes, expected: int) -> None:
    assert checksum(data) == expected


def test_prototypes_are_those_of_the_header() -> None:
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.S)
    declared = {
        name: 0 if arguments.strip() == "void" else arguments.count(",") + 1
        for name, arguments in re.findall(r"^FURIOSA_API [^;(]*?(\w+)\(([^)]*)\)", text, re.M)
    }
    assert declared == {name: len(arguments) for name, (_, arguments) in _PROTOTYPES.items()}


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_header_is_c() -> None:
    subprocess.run(
        [
            "cc",
            "-std=c99",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-pedantic",
            "-fsyntax-only",
            "-xc",
            HEADER,
        ],
        check=True,
    )


def test_version_is_that_of_the_header() -> None:
    version = re.search(r'FURIOSA_EP_VERSION "([^"]+)"', HEADER.read_text())
    assert version is not None
    assert load_library().furiosa_version().decode() == version[1]


def test_unknown_instruction_set_is_refused() -> None:
    library = load_library()
    assert library.furiosa_set_isa(b"sse") != 0
    assert b"'sse': expected one of scalar, avx2" in library.furiosa_last_error()


def test_instruction_set_from_the_environment() -> None:
    code = (
        "from furiosa_ep.device_emulator import load_library as l\n"
        "print(l().furiosa_isa_name().decode(), l().furiosa_isa_problem())"
    )
    assert _python(code, FURIOSA_ISA="scalar") == "scalar None"
    assert "FURIOSA_ISA=sse: expected one of scalar" in _python(code, FURIOSA_ISA="sse")


def test_missing_library_says_how_to_get_it(tmp_path: Path) -> None:
    missing = tmp_path / "none.so"
    assert _load_error(missing) == (
        f"no native library at {missing}: $FURIOSA_EP_LIBRARY must name an existing "
        "libfuriosa_ep.so"
    )


def test_file_that_is_no_library(tmp_path: Path) -> None:
    broken = tmp_path / "broken.so"
    broken.write_text("not a library")
    assert f"{broken} is no library of this version" in _load_error(broken)


def test_library_without_our_functions() -> None:
    other = next(Path("/").glob("lib/*-linux-gnu/libm.so.6"), None)
    if other is None:
        pytest.skip("no libm.so.6")
    assert "install it again" in _load_error(other)


def _load_error(library: Path) -> str:
    code = (
        "from furiosa_ep.device_emulator import LibraryError, load_library\n"
        "try: load_library()\n"
        "except LibraryError as error: print(error)"
    )
    return _python(code, FURIOSA_EP_LIBRARY=str(library))


def _python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()
