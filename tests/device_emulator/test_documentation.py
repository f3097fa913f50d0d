"""docs/program.md describes every opcode as it is declared."""

import re
from pathlib import Path

import pytest

from furiosa_ep.program import OPCODES
from furiosa_ep.program.program import HEADER

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs/program.md").read_text()
SECTIONS = dict(re.findall(r"^### (\w+)\n(.*?)(?=^### |\Z)", DOCUMENT, re.M | re.S))
DECLARATIONS = dict(
    re.findall(
        r'^FURIOSA_OPCODE\(\d+, (\w+), "([^"]*)"',
        (ROOT / "furiosa_ep/include/furiosa_opcodes.def").read_text(),
        re.M,
    )
)


def test_no_section_is_about_something_else() -> None:
    assert set(SECTIONS) == set(OPCODES)


@pytest.mark.parametrize("opcode", OPCODES)
def test_opcode_is_documented_as_declared(opcode: str) -> None:
    section = SECTIONS[opcode]
    schema = OPCODES[opcode]
    assert f"`{DECLARATIONS[opcode]}`" in section
    attributes = re.search(r"attributes? ((?:`\w+`,?\s*)+)", section)
    named = re.findall(r"`(\w+)`", attributes[1]) if attributes else []
    expected = [*schema.attributes, *([schema.variadic] if schema.variadic else [])]
    assert named == expected


def test_header_fields_are_documented() -> None:
    assert all(f"`{name}`" in DOCUMENT for name in HEADER.names or ())
