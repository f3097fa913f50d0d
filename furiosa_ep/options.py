"""The provider options: what a session can ask of FuriosaProvider (docs/options.md)."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


class OptionError(ValueError):
    """A provider option that does not exist, or a value that it does not take."""


@dataclass(frozen=True)
class Options:
    """What a session asks of the provider; ONNX Runtime hands options over as strings.

    `parse` reads them; the defaults are those of a session that sets none.
    """

    claim: str = "profitable"
    """Which supported partitions to take: `profitable` (those that hold more than data movement and
    one elementwise operator), `all`, or what a plugin offers by another name."""

    device: str = ""
    """The device that the session holds for this process alone, such as `npu0pe0` or `warboy(2)*1`;
    without one it shares a device with other processes."""

    device_wait: float = 0.0
    """For how many seconds to wait for a device that other processes hold."""

    disabled_ops: frozenset[str] = frozenset()
    """Operator types that stay on the CPU, `Conv` or `com.microsoft:QGemm`."""

    python_kernels: str = "decline"
    """Whether kernels of plugins that run in Python, under its GIL, may be used: `decline` or
    `allow`."""

    profile: str = ""
    """Where to write a Chrome trace of the session's runs: a file's name, in which {pid} stands for
    the number of the process, or a folder. Empty for none."""

    program_cache_size: int = 16
    """How many Programs, one per combination of input shapes, each partition with symbolic dims
    keeps; the least recently used one goes first."""

    run_timeout: float = 10.0
    """Seconds after which a run ends on a device that hangs; nothing else is timed."""

    summary: str = "warning"
    """The log level of the one line that says what was claimed: `warning` (shown by default),
    `info` or `off`."""

    target: str = "warboy"
    """The kind of device that is compiled for: `warboy`, `warboy-2pe`, or what a plugin adds. It
    follows the device where it is not given."""

    @classmethod
    def parse(cls, values: Mapping[str, str]) -> "Options":
        """The options in `values`, defaults for those that are absent.

        Raises:
            OptionError: for a key that does not exist or a value that it does not take; the
                message lists what is allowed.
        """
        parsed: dict[str, Any] = {}
        for key, value in values.items():
            if key in _READ_BY_ONNXRUNTIME:
                continue
            parser = _PARSERS.get(key)
            if parser is None:
                raise OptionError(
                    f"option {key!r}={value!r}: no such option of FuriosaProvider, expected one of "
                    f"{', '.join(_PARSERS)} (docs/options.md)"
                )
            parsed[key] = parser(key, value.strip())
        return cls(**parsed)


_MOST_SECONDS = 1e6

_READ_BY_ONNXRUNTIME = frozenset({"device_id"})
"""Keys that ONNX Runtime acts on itself and hands over all the same."""


def _one_of(*allowed: str) -> Callable[[str, str], str]:
    def parse(key: str, value: str) -> str:
        if value not in allowed:
            raise _refused(key, value, "one of " + ", ".join(allowed))
        return value

    return parse


def _name(key: str, value: str) -> str:
    if not value.replace("-", "").replace("_", "").isalnum():
        raise _refused(key, value, "a name of letters, digits, - and _")
    return value


def _path(key: str, value: str) -> str:
    if not value:
        raise _refused(key, value, "the name of a file or a folder")
    return value


def _integer(least: int, most: int) -> Callable[[str, str], int]:
    def parse(key: str, value: str) -> int:
        if not (value.isascii() and value.isdecimal()) or not least <= int(value) <= most:
            raise _refused(key, value, f"an integer from {least} to {most}")
        return int(value)

    return parse


def _seconds(least: float, *, inclusive: bool) -> Callable[[str, str], float]:
    def parse(key: str, value: str) -> float:
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if not (seconds >= least if inclusive else seconds > least) or seconds > _MOST_SECONDS:
            above = "from" if inclusive else "above"
            expected = f"a number of seconds {above} {least:g}, up to {_MOST_SECONDS:g}"
            raise _refused(key, value, expected)
        return seconds

    return parse


def _device(key: str, value: str) -> str:
    if not value:
        raise _refused(key, value, "a device, like npu0pe0 or warboy(2)*1")
    return value


def _operators(key: str, value: str) -> frozenset[str]:
    names = [name.strip() for name in value.split(",") if name.strip()]
    for name in names:
        if not name.replace(":", "").replace(".", "").replace("_", "").isalnum():
            raise _refused(key, value, "operator types separated by commas, like Conv,Softmax")
    return frozenset(names)


def _refused(key: str, value: str, expected: str) -> OptionError:
    return OptionError(f"option {key!r}={value!r}: expected {expected} (docs/options.md#{key})")


_PARSERS: Mapping[str, Callable[[str, str], Any]] = {
    "claim": _name,
    "device": _device,
    "device_wait": _seconds(0, inclusive=True),
    "disabled_ops": _operators,
    "profile": _path,
    "program_cache_size": _integer(1, 1_000_000),
    "python_kernels": _one_of("decline", "allow"),
    "run_timeout": _seconds(0, inclusive=False),
    "summary": _one_of("warning", "info", "off"),
    "target": _name,
}
