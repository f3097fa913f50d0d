"""Another process that holds devices, for tests."""

import threading

from tests.device_emulator.child_process import ChildProcess

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


class OtherProcess(ChildProcess):
    """Opens devices, says whether it has got them, and holds them until it ends."""

    def __init__(self, spec: str | None = None, *, shared: bool = False, wait: float = 0) -> None:
        arguments = f"{spec!r}, wait={wait}" if not shared else f"wait={wait}"
        call = ("open_shared" if shared else "open") + f"({arguments})"
        super().__init__("-c", _PROGRAM.format(call=call))

    def release_after(self, seconds: float) -> None:
        """Lets it end in a while."""
        threading.Timer(seconds, self.end_input).start()


def holder(spec: str | None = None, *, shared: bool = False) -> OtherProcess:
    """A process that holds a device by now."""
    process = OtherProcess(spec, shared=shared)
    answer = process.answer()
    assert answer.startswith("holds"), answer
    return process
