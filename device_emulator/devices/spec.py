"""The names of devices: what a session or a program asks for.

    spec  = item {"," item}
    item  = "npu" u8 ["pe" cores] | "npu:" u8 [":" cores] | "warboy" ["(" u8 ")"] "*" u8
    cores = u8 | u8 "-" u8

There is no space in it. u8 is a number from 0 to 255.
"""

import enum
import re
from dataclasses import dataclass

from furiosa_ep.device_emulator.devices.errors import SpecError, shortened

_MOST = 255


class Mode(enum.StrEnum):
    """How the PEs of a device work."""

    SINGLE = "single"
    """One PE."""
    FUSION = "fusion"
    """Both PEs of a card as one."""
    MULTI_CORE = "multi-core"
    """All PEs of a card, each for itself."""


@dataclass(frozen=True)
class Named:
    """Certain PEs of a card: `npu0pe0`, `npu0pe0-1`, or all as `npu0`."""

    card: int
    cores: tuple[int, int] | None = None
    """The first and the last one."""

    @property
    def mode(self) -> Mode:
        """How its PEs work."""
        if self.cores is None:
            return Mode.MULTI_CORE
        return Mode.SINGLE if self.cores[0] == self.cores[1] else Mode.FUSION

    def __str__(self) -> str:
        if self.cores is None:
            return f"npu{self.card}"
        first, last = self.cores
        return f"npu{self.card}pe{first}" + ("" if first == last else f"-{last}")


@dataclass(frozen=True)
class Any:
    """As many devices as are asked for, whichever are free: `warboy*2`, `warboy(2)*1`."""

    count: int
    fused: bool = False

    @property
    def mode(self) -> Mode:
        """How the PEs of each device work."""
        return Mode.FUSION if self.fused else Mode.SINGLE

    def __str__(self) -> str:
        return f"warboy{'(2)' if self.fused else ''}*{self.count}"


Item = Named | Any


@dataclass(frozen=True)
class DeviceSpec:
    """Devices as a text names them; str() gives such a text."""

    items: tuple[Item, ...]

    def __str__(self) -> str:
        return ",".join(map(str, self.items))

    @property
    def pes(self) -> int:
        """How many PEs work together on each device.

        Raises:
            SpecError: where there are fused ones and single ones.
        """
        fused = {item.mode is Mode.FUSION for item in self.items}
        if len(fused) > 1:
            raise SpecError(
                f"device spec {str(self)!r}: fused PEs and single ones cannot run one Program; "
                "name devices of one kind"
            )
        return 2 if fused == {True} else 1

    @classmethod
    def parse(cls, text: str) -> "DeviceSpec":
        """The devices that `text` names.

        Raises:
            SpecError: where it is none; the message shows where and what is allowed there.
        """
        return _Parser(text).spec()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._more = ""
        """What the item that was read could go on with."""

    def spec(self) -> DeviceSpec:
        items = [self._item()]
        while self._take(","):
            items.append(self._item())
        if self._at < len(self._text):
            raise self._wrong(f"{self._more}',' or the end")
        return DeviceSpec(tuple(items))

    def _item(self) -> Item:
        self._more = ""
        for prefix, separator in (("npu:", ":"), ("npu", "pe")):
            if self._take(prefix):
                card = self._number("the number of a card")
                if self._take(separator):
                    return Named(card, self._cores())
                self._more = f"{separator!r}, "
                return Named(card)
        if self._take("warboy"):
            fused = False
            if self._take("("):
                fused = self._number("the number of PEs to fuse") != 1
                self._need(")")
            self._need("*")
            start = self._at
            count = self._number("how many devices")
            if count == 0:
                self._at = start
                raise self._wrong("how many devices, at least 1")
            return Any(count, fused)
        raise self._wrong("'npu' or 'warboy'")

    def _cores(self) -> tuple[int, int]:
        first = self._number("the number of a PE")
        if not self._take("-"):
            self._more = "'-', "
            return first, first
        start = self._at
        last = self._number("the number of a PE")
        if last < first:
            self._at = start
            raise self._wrong(f"a PE from {first} on")
        return first, last

    def _take(self, token: str) -> bool:
        found = self._text.startswith(token, self._at)
        self._at += len(token) if found else 0
        return found

    def _need(self, token: str) -> None:
        if not self._take(token):
            raise self._wrong(repr(token))

    def _number(self, what: str) -> int:
        match = re.compile("[0-9]+").match(self._text, self._at)
        if match is None or len(match[0]) > len(str(_MOST)) or int(match[0]) > _MOST:
            raise self._wrong(f"{what}, from 0 to {_MOST}")
        self._at = match.end()
        return int(match[0])

    def _wrong(self, expected: str) -> SpecError:
        rest = self._text[self._at :]
        found = f"{rest[:12]!r}" if rest else "its end"
        return SpecError(
            f"device spec {shortened(self._text)!r}: expected {expected} at character "
            f"{self._at + 1}, found {found} (docs/devices.md#names)"
        )
