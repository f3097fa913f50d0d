"""The built-in commands. What they need is imported when they run, so that all start fast."""

from furiosa_ep.cli import diagnose, doctor, estimate, explain, plugins, quantize, run, verify
from furiosa_ep.cli.parsers import command_of

COMMANDS = tuple(
    map(command_of, (quantize, diagnose, estimate, explain, verify, doctor, plugins, run))
)
