"""The soak test of devices, for a short time."""

import json
import subprocess
import sys


def test_processes_that_are_killed_leave_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.soak", "--seconds", "10", "--processes", "4"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["problems"] == []
    assert found["killed"] > 0
    assert found["runs"] > 0
    assert found["faults"] > 0
