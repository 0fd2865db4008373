#!/usr/bin/env python3
"""Starts `sheaf serve` on the demo model, sends it one chat request, shows the streamed answer, and keeps serving
until Ctrl-C. Standard library only."""
import argparse
import http.client
import json
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def free_port(wanted):
    """`wanted` if nobody listens there, else one that the system picks."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                print(f"Port {port} is taken; using another one.")
                continue
            return probe.getsockname()[1]
    sys.exit("no free port")


def wait_until_ready(server, port, seconds=300):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if server.poll() is not None:
            sys.exit(f"sheaf serve ended with status {server.returncode}; its log is above")
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.05)
    sys.exit("the server did not become ready")


def ask(port, body):
    """Prints the answer as it is streamed; returns it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    connection.request("POST", "/v1/chat/completions", json.dumps(body | {"stream": True}),
                       {"Content-Type": "application/json"})
    response = connection.getresponse()
    if response.status != 200:
        sys.exit(f"the server answered {response.status}: {response.read().decode()}")
    answer = ""
    for line in response:
        if not line.startswith(b"data: ") or line.startswith(b"data: [DONE]"):
            continue
        event = json.loads(line[6:])
        if "error" in event:
            sys.exit(f"\nthe server reported: {event['error']}")
        for choice in event["choices"]:
            text = choice["delta"].get("content") or ""
            answer += text
            print(text, end="", flush=True)
    print()
    return answer


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", default=str(ROOT / "build/release/sheaf"))
    parser.add_argument("--model", default="models/demo", help="checkpoint to serve")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--question", default="What is the capital of France?")
    parser.add_argument("--once", action="store_true", help="end after the answer")
    options = parser.parse_args()

    port = free_port(options.port)
    command = [options.program, "serve", options.model, "--port", str(port), "--log-level", "warning"]
    print(f"$ {shlex.join(command)}", flush=True)
    server = subprocess.Popen(command, cwd=ROOT)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    status = 0
    try:
        wait_until_ready(server, port)
        body = {"model": options.model, "messages": [{"role": "user", "content": options.question}],
                "temperature": 0, "max_tokens": 256, "chat_template_kwargs": {"enable_thinking": False}}
        print(f"\nQuestion: {options.question}\nAnswer:   ", end="", flush=True)
        if not ask(port, body).strip():
            sys.exit("the answer is empty")
        if options.once:
            return 0
        print(f"\nServing at http://127.0.0.1:{port} until Ctrl-C. Try:\n\n"
              f"curl http://127.0.0.1:{port}/v1/chat/completions -H 'Content-Type: application/json' \\\n"
              f"  -d '{json.dumps({key: body[key] for key in ('model', 'messages')})}'\n", flush=True)
        status = server.wait()
    except KeyboardInterrupt:
        status = 130
    finally:
        if server.poll() is None:
            server.terminate()
            try:
                server.wait(timeout=70)
            except subprocess.TimeoutExpired:
                server.kill()
    return status


if __name__ == "__main__":
    sys.exit(main())
