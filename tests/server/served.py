"""A running `sheaf serve`, for the tests of the API. SHEAF_PROGRAM is the program, SHEAF_TEST_MODEL another model."""
import http.client
import json
import os
import socket
import subprocess
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("SHEAF_PROGRAM", str(ROOT / "build/release/sheaf"))
MODEL = os.environ.get("SHEAF_TEST_MODEL", str(ROOT / "models/demo"))
CONTEXT = 2048


class Served:
    """Use as a context manager: the server is ready inside and must have ended well behind."""

    def __init__(self, *arguments):
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("SHEAF_", "HF_", "VLLM_"))}
        command = [PROGRAM, "serve", MODEL, "--host", "127.0.0.1", "--port", "0", "--served-model-name", "demo",
                   "--max-model-len", str(CONTEXT), *arguments]
        self.log = []
        self.process = subprocess.Popen(command, env=clean, cwd=ROOT, text=True, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.bound = threading.Event()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.log.append(line)
            if "listening at http://" in line:
                self.port = int(line.split("listening at http://")[1].split(";")[0].rsplit(":", 1)[1])
                self.bound.set()

    def __enter__(self):
        if not self.bound.wait(timeout=60):
            self.process.kill()
            raise RuntimeError("the server does not listen:\n" + "".join(self.log))
        deadline = time.monotonic() + 120
        while self.request("GET", "/health")[0] != 200:
            if time.monotonic() > deadline or self.process.poll() is not None:
                self.process.kill()
                raise RuntimeError("the server is not ready:\n" + "".join(self.log))
            time.sleep(0.05)
        return self

    def __exit__(self, *error):
        self.process.terminate()
        try:
            status = self.process.wait(timeout=90)
        finally:
            self.process.kill()
            self.process.wait()
            self.reader.join(timeout=5)
            self.process.stderr.close()
        if status != 0 and error[0] is None:
            raise RuntimeError(f"the server ended with status {status}:\n" + "".join(self.log))

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def request(self, method, path, body=None, headers=None, timeout=120):
        """(status, body): the body parsed when it is JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            raw = body if isinstance(body, (bytes, str)) or body is None else json.dumps(body)
            connection.request(method, path, raw, {"Content-Type": "application/json"} | (headers or {}))
            response = connection.getresponse()
            data = response.read()
            if "json" in (response.headers.get("Content-Type") or ""):
                return response.status, json.loads(data)
            return response.status, data.decode()
        finally:
            connection.close()

    def post(self, path, body, **more):
        return self.request("POST", path, body, **more)

    def socket(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def metric(self, name):
        """The sum of a metric's values over its labels."""
        text = self.request("GET", "/metrics")[1]
        values = [float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
                  if line.startswith(name + "{") or line.startswith(name + " ")]
        return sum(values)
