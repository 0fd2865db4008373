"""serve from outside: its start, its end, its command line; and healthcheck. The API has tests of its own."""
import http.client
import json
import os
import signal
import socket
import tempfile
import threading
import time
import unittest

from sheaf_cli import TALKER, Expectations, sheaf, start


class Serve(unittest.TestCase, Expectations):
    def serve(self, *arguments, env=None, **options):
        """A server on a free port: (process, port), once the port is bound."""
        process = start("serve", TALKER, "--port", "0", "--host", "127.0.0.1", *arguments, env=env, **options)
        self.log = []
        found = threading.Event()

        def read():
            for line in process.stderr:
                self.log.append(line)
                if "listening at http://" in line:
                    found.set()

        reader = threading.Thread(target=read, daemon=True)
        reader.start()

        def end():
            if process.poll() is None:
                process.kill()
            process.wait()
            reader.join(timeout=5)
            for pipe in (process.stdin, process.stdout, process.stderr):
                pipe.close()

        self.addCleanup(end)
        self.assertTrue(found.wait(timeout=30), "".join(self.log))
        line = next(line for line in self.log if "listening at http://" in line)
        return process, int(line.split("listening at http://")[1].split(";")[0].rsplit(":", 1)[1])

    def request(self, port, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request(method, path, json.dumps(body) if body is not None else None,
                           {"Content-Type": "application/json"} | (headers or {}))
        response = connection.getresponse()
        answer = response.status, response.read()
        connection.close()
        return answer

    def ready(self, port):
        for _ in range(600):
            if sheaf("healthcheck", "--url", f"http://127.0.0.1:{port}").returncode == 0:
                return
            time.sleep(0.05)
        self.fail("".join(self.log))

    def test_serves_and_ends(self):
        for number, status in ((signal.SIGTERM, 0), (signal.SIGINT, 130)):
            process, port = self.serve("--served-model-name", "first", "second")
            self.ready(port)
            code, body = self.request(port, "GET", "/v1/models")
            self.assertEqual(code, 200)
            self.assertEqual([model["id"] for model in json.loads(body)["data"]], ["first", "second"])
            code, body = self.request(port, "POST", "/v1/chat/completions",
                                      {"model": "second", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4, "temperature": 0})
            self.assertEqual(code, 200, body)
            process.send_signal(number)
            self.assertEqual(process.wait(timeout=30), status, "".join(self.log))
            self.assertEqual(process.stdout.read(), "")

    def streaming(self, port, tokens):
        """A streamed completion of so many tokens, once its first event is there."""
        body = {"prompt": "a", "max_tokens": tokens, "ignore_eos": True, "temperature": 0, "stream": True,
                "stream_options": {"include_usage": True}}
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.addCleanup(connection.close)
        connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        self.assertEqual(response.status, 200)
        self.assertTrue(response.readline().startswith(b"data: "))
        return response

    def test_running_answers_finish(self):
        process, port = self.serve()
        self.ready(port)
        answer = self.streaming(port, 1000)
        process.send_signal(signal.SIGTERM)
        events = [line for line in answer if line.startswith(b"data: ")]
        self.assertEqual(events[-1].strip(), b"data: [DONE]")
        self.assertEqual(json.loads(events[-2][6:])["usage"]["completion_tokens"], 1000)
        self.assertEqual(process.wait(timeout=30), 0)

    def test_a_second_signal_ends_at_once(self):
        process, port = self.serve()
        self.ready(port)
        self.streaming(port, 4000)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        self.assertIsNone(process.poll())
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(timeout=10), 143)

    def test_port_in_use(self):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            process = sheaf("serve", TALKER, "--host", "127.0.0.1", "--port", port)
            self.assert_error(process, 1, str(port), "in use")

    def test_a_model_that_cannot_be_loaded(self):
        self.assert_error(sheaf("serve", "/nowhere/at/all", "--port", "0"), 1, "/nowhere/at/all")

    def test_keys(self):
        for arguments, env in ((["--api-key", "one", "two"], {}), ([], {"VLLM_API_KEY": "two"})):
            process, port = self.serve(*arguments, env=env)
            self.ready(port)  # /health needs none
            self.assertEqual(self.request(port, "GET", "/v1/models")[0], 401)
            self.assertEqual(self.request(port, "GET", "/v1/models", headers={"Authorization": "Bearer two"})[0], 200)
            self.assertNotIn("two", "".join(line for line in self.log if "api" in line.lower()))

    def test_the_model_cards_command(self):
        process, port = self.serve("--dtype", "bfloat16", "--tensor-parallel-size", "2", "--gpu-memory-utilization", "0.90",
                                   "--max-num-batched-tokens", "16384", "--trust-remote-code", "--reasoning-parser", "qwen3",
                                   "--mm-encoder-tp-mode", "data", "--enable-prefix-caching", "--enable-auto-tool-choice",
                                   "--tool-call-parser", "qwen3_coder", "--cpu-offload-gb", "70", "--max-model-len", "2048", "--enforce-eager")
        self.ready(port)

    def test_healthcheck(self):
        self.assert_error(sheaf("healthcheck", "--url", "http://127.0.0.1:1"), 1, "127.0.0.1:1")
        self.assert_error(sheaf("healthcheck", "--url", "https://127.0.0.1:1"), 2, "https")
        self.assert_error(sheaf("healthcheck", "--url", "http://"), 2, "http://HOST:PORT")
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            began = time.monotonic()
            self.assert_error(sheaf("healthcheck", "--url", url, "--timeout", "0.3"), 1, url)
            self.assertLess(time.monotonic() - began, 5)

    def test_unix_socket(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "socket")
            process = start("serve", TALKER, "--uds", path, "--log-level", "error")
            self.addCleanup(lambda: [pipe.close() for pipe in (process.stdin, process.stdout, process.stderr)])
            for _ in range(200):
                if os.path.exists(path):
                    break
                time.sleep(0.05)
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(path)
                client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                self.assertTrue(client.recv(64).startswith(b"HTTP/1.1 "))
            process.terminate()
            self.assertIn(process.wait(timeout=30), (0, 143))  # 143: while it was loading


if __name__ == "__main__":
    unittest.main()
