"""Another process of Python that is told lines and answers with lines, for tests."""

import contextlib
import subprocess
import sys
from types import TracebackType
from typing import IO, Self


class ChildProcess:
    """Runs until the `with` block ends, which ends its input, or until it is killed."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid

    def answer(self) -> str:
        """The next line that it says; "" where it has ended."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def ask(self, line: str) -> str:
        """Its answer to a line."""
        self._input.write(f"{line}\n")
        self._input.flush()
        return self.answer()

    def end_input(self) -> None:
        """Lets it end, once it has done what it was told. May be called again."""
        with contextlib.suppress(BrokenPipeError):  # it has ended already
            self._input.close()

    def kill(self) -> None:
        """Ends it at once, in whatever it does."""
        self._process.kill()
        self._process.wait()

    @property
    def _input(self) -> IO[str]:
        assert self._process.stdin is not None
        return self._process.stdin

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end_input()
        assert self._process.stdout is not None
        with self._process.stdout as said:
            said.read()  # what nobody has asked for, which it may wait to say
        self._process.wait()
