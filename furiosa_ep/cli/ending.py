"""How a command ends, whatever happens to it or to those who read its output."""

import errno
import io
import os
import sys
from collections.abc import Callable

from furiosa_ep.partitioner.descriptors import CommandError

CLOSED_PIPE = 141
"""The exit code that a shell gives to a command whose reader has gone."""
INTERRUPTED = 130
"""The one that it gives to a command that was interrupted."""
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def exit_code(program: str, command: Callable[[], int]) -> int:
    """What a command returns, or the code for what has ended it, with the reason on stderr.

    Characters that the output cannot show are replaced. A reader that goes and an interruption need
    no reason.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        code = command()
        if sys.stdout is not None:
            sys.stdout.flush()
    except CommandError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return error.code
    except BrokenPipeError:
        # What is left in the buffer must not be written at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        print(f"{program}: cannot write: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return code
