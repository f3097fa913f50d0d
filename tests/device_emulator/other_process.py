"""Another process that holds devices, for tests."""

import subprocess
import sys
import threading
from types import TracebackType
from typing import Self

_PROGRAM = """
import sys
from furiosa_ep import devices
try:
    with devices.{call} as device:
        print("holds", device, flush=True)
        sys.stdin.read()
except devices.DeviceError as error:
    print(type(error).__name__, error, flush=True)
"""


class OtherProcess:
    """Opens devices and holds them until the `with` block ends, or until it is killed."""

    def __init__(self, spec: str | None = None, *, shared: bool = False, wait: float = 0) -> None:
        arguments = f"{spec!r}, wait={wait}" if not shared else f"wait={wait}"
        call = ("open_shared" if shared else "open") + f"({arguments})"
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM.format(call=call)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid

    def answer(self) -> str:
        """What it says of the device, once it knows."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def release_after(self, seconds: float) -> None:
        """Lets it end in a while."""
        stream = self._process.stdin
        assert stream is not None
        threading.Timer(seconds, stream.close).start()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
        self._process.wait()


def holder(spec: str | None = None, *, shared: bool = False) -> OtherProcess:
    """A process that holds a device by now."""
    process = OtherProcess(spec, shared=shared)
    answer = process.answer()
    assert answer.startswith("holds"), answer
    return process
