"""Run an unchanged ONNX Runtime program with FuriosaProvider put first (``furiosa run``).

The program is started as ``python program.py`` would start it, with two environment variables
added: `PYTHONPATH` leads to `site/sitecustomize.py`, and `FURIOSA_RUN` holds the `Settings`. The
interpreter loads sitecustomize before the program; it waits for the program to import onnxruntime
and then lets `sessions.install` wrap the constructor of InferenceSession. Processes that the
program starts inherit both variables, so they run on the NPU as well.
"""
