"""Options are parsed strictly, and documented."""

import dataclasses
import re
from pathlib import Path

import pytest

from furiosa_ep import OptionError, Options

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "options.md"


def test_defaults() -> None:
    assert Options.parse({}) == Options()


def test_values() -> None:
    parsed = Options.parse(
        {
            "claim": "all",
            "disabled_ops": " Conv ,com.microsoft:QGemm,",
            "program_cache_size": "1",
            "summary": "off",
        }
    )
    assert parsed == Options(
        claim="all",
        disabled_ops=frozenset({"Conv", "com.microsoft:QGemm"}),
        program_cache_size=1,
        summary="off",
    )


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("claim", "", "a name of letters, digits, - and _"),
        ("claim", "all of it", "a name of letters, digits, - and _"),
        ("python_kernels", "yes", "one of decline, allow"),
        ("target", "war/boy", "a name of letters, digits, - and _"),
        ("program_cache_size", "0", "an integer from 1 to 1000000"),
        ("program_cache_size", "1000001", "an integer from 1 to 1000000"),
        ("program_cache_size", "1.5", "an integer from 1 to 1000000"),
        ("program_cache_size", "²", "an integer from 1 to 1000000"),
        ("disabled_ops", "Conv Add", "operator types separated by commas, like Conv,Softmax"),
        ("summary", "debug", "one of warning, info, off"),
        ("device", "", "a device, like npu0pe0 or warboy(2)*1"),
        ("device_wait", "-1", "a number of seconds from 0, up to 1e+06"),
        ("device_wait", "soon", "a number of seconds from 0, up to 1e+06"),
        ("device_wait", "nan", "a number of seconds from 0, up to 1e+06"),
        ("device_wait", "inf", "a number of seconds from 0, up to 1e+06"),
        ("run_timeout", "0", "a number of seconds above 0, up to 1e+06"),
    ],
)
def test_a_refused_value_is_named_with_what_is_allowed(key: str, value: str, allowed: str) -> None:
    expected = f"option {key!r}={value!r}: expected {allowed} (docs/options.md#{key})"
    with pytest.raises(OptionError, match=f"^{re.escape(expected)}$"):
        Options.parse({key: value})


def test_an_unknown_key_is_named_with_all_that_exist() -> None:
    with pytest.raises(OptionError, match="'devices'='npu0'") as raised:
        Options.parse({"devices": "npu0"})
    for field in dataclasses.fields(Options):
        assert field.name in str(raised.value)


def test_each_option_is_documented_with_its_default() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for field in dataclasses.fields(Options):
        name = field.name
        row = re.search(
            rf"^\| \[`{name}`\]\(#{name}\) \| .* \| (.*?) \| .* \|$", text, re.MULTILINE
        )
        assert row is not None, name
        none = field.default in ("", frozenset())
        assert row[1] == ("none" if none else f"`{field.default}`")
        assert f"\n## {name}\n" in text
