"""The example for VALET in docs/TICK-ON-ENQUEUE.md does what the document says."""

import re
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from support import ROOT, environment, program_path

RUN = """
const { enqueue } = await import("./valet.mts");
const sent = [];
const boss = { send: async (...job) => { sent.push(job); return "an-id"; } };
console.log(JSON.stringify({ id: await enqueue(boss, { url: "x" }), sent }));
"""


class Api(BaseHTTPRequestHandler):
    """Answers as it is told, and keeps what it was asked."""

    def do_POST(self) -> None:
        self.server.asked.append((self.path, self.headers["authorization"]))
        self.send_response(self.server.status)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def api():
    server = HTTPServer(("127.0.0.1", 0), Api)
    server.asked, server.status = [], 202
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def enqueue(folder, url: str) -> tuple[str, str]:
    """What the example prints when it enqueues one job, and what it complains about."""
    text = (ROOT / "docs/TICK-ON-ENQUEUE.md").read_text()
    (example,) = re.findall(r"```ts\n(.*?)```", text, re.DOTALL)
    (folder / "valet.mts").write_text(example)
    (folder / "run.mts").write_text(RUN)
    ended = subprocess.run(
        [program_path("node"), "run.mts"],
        env=environment(FLEET_TICK_URL=url, FLEET_TICKER_TOKEN="a-tickers-token"),
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return ended.stdout.strip(), ended.stderr


SENT = '{"id":"an-id","sent":[["gh_apply_job",{"url":"x"},{"expireInSeconds":14400}]]}'


@pytest.mark.parametrize("status", [200, 202, 409, 429, 503])
def test_valet_sends_its_job_and_tells_the_fleet_whatever_it_answers(api, tmp_path, status):
    api.status = status
    printed, complaints = enqueue(tmp_path, f"http://127.0.0.1:{api.server_port}/tick")
    assert printed == SENT
    assert api.asked == [("/tick", "Bearer a-tickers-token")]
    assert "fleet" not in complaints, complaints


def test_valet_complains_of_a_token_that_is_refused(api, tmp_path):
    api.status = 403
    printed, complaints = enqueue(tmp_path, f"http://127.0.0.1:{api.server_port}/tick")
    assert printed == SENT
    assert "the fleet refuses the ticker's token (403)" in complaints


def test_a_fleet_that_is_away_fails_no_job(tmp_path):
    printed, complaints = enqueue(tmp_path, "http://127.0.0.1:9/tick")
    assert printed == SENT
    assert "its schedule sees it" in complaints
