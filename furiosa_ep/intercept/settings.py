"""What ``furiosa run`` tells the processes that it starts, through the environment."""

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

VARIABLE = "FURIOSA_RUN"


@dataclass(frozen=True)
class Settings:
    """How sessions are created and what is reported of them."""

    options: Mapping[str, str] = field(default_factory=dict)
    """Provider options for every session."""
    verify: bool = False
    """Whether every run is repeated on the CPU provider and compared bit for bit."""
    report: str | None = None
    """A file to which each process adds what its sessions did, as one JSON object a line."""

    @classmethod
    def from_environment(cls) -> "Settings":
        """The settings of the ``furiosa run`` that this process belongs to."""
        return cls(**json.loads(os.environ[VARIABLE]))

    def environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """The `inherited` environment with what makes a Python in it run on the NPU."""
        site = str(Path(__file__).with_name("site"))
        path = [site, *filter(None, [inherited.get("PYTHONPATH")])]
        return {
            **inherited,
            "PYTHONPATH": os.pathsep.join(path),
            VARIABLE: json.dumps(dataclasses.asdict(self)),
        }
