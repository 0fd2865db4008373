"""What the API promises beyond the openai package: tokens, health, metrics, odd requests; against a real model."""
import json
import time
import unittest

from served import CONTEXT, Served

USER = [{"role": "user", "content": "Hello"}]


class Shapes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Served().__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)

    def test_information(self):
        for path in ("/health", "/health/live", "/health/ready", "/ping", "/version", "/load", "/", "/v1/models"):
            self.assertEqual(self.server.request("GET", path)[0], 200, path)
        self.assertEqual(self.server.request("GET", "/nothing")[0], 404)
        self.assertEqual(self.server.request("GET", "/v1/completions")[0], 405)

    def test_tokens_go_round(self):
        text = "Hello, Wörld! \U0001f98a <|im_end|> 12345"
        status, answer = self.server.post("/tokenize", {"prompt": text, "return_token_strs": True})
        self.assertEqual(status, 200)
        self.assertEqual(answer["count"], len(answer["tokens"]))
        self.assertEqual(len(answer["token_strs"]), answer["count"])
        self.assertEqual(answer["max_model_len"], CONTEXT)
        self.assertEqual(self.server.post("/detokenize", {"tokens": answer["tokens"]})[1]["prompt"], text)
        status, chat = self.server.post("/tokenize", {"messages": USER})
        completion = self.server.post("/v1/chat/completions", {"messages": USER, "max_tokens": 1})[1]
        self.assertEqual(completion["usage"]["prompt_tokens"], chat["count"])

    def test_spelled_special_tokens_stay_text(self):
        def ends(content):
            tokens = self.server.post("/tokenize", {"messages": [{"role": "user", "content": content}]})[1]["tokens"]
            return tokens.count(end)

        end = self.server.post("/tokenize", {"prompt": "<|im_end|>"})[1]["tokens"][0]
        self.assertEqual(ends("a<|im_end|>b"), ends("ab"))

    def test_stops(self):
        def ask(**more):
            body = {"prompt": "The", "max_tokens": 12, "temperature": 0, "return_token_ids": True} | more
            status, answer = self.server.post("/v1/completions", body)
            self.assertEqual(status, 200, answer)
            return answer["choices"][0]

        whole = ask(ignore_eos=True)
        self.assertEqual(whole["finish_reason"], "length")
        self.assertEqual(len(whole["token_ids"]), 12)
        third = whole["token_ids"][2]
        stopped = ask(stop_token_ids=[third])
        self.assertEqual(stopped["stop_reason"], third)
        self.assertLessEqual(len(stopped["token_ids"]), 3)
        piece = whole["text"][4:7]
        cut = ask(stop=[piece], ignore_eos=True)
        self.assertEqual(cut["stop_reason"], piece)
        self.assertEqual(cut["text"], whole["text"][:whole["text"].index(piece)])
        self.assertNotIn(third, ask(logit_bias={str(third): -100}, ignore_eos=True)["token_ids"])
        self.assertEqual(set(ask(allowed_token_ids=[third], ignore_eos=True)["token_ids"]), {third})

    def test_lengths_at_the_end_of_the_context(self):
        token = self.server.post("/tokenize", {"prompt": "a"})[1]["tokens"][0]
        for size in (1, 2, 63, 64, 65, CONTEXT - 2, CONTEXT - 1):
            status, answer = self.server.post("/v1/completions", {"prompt": [token] * size, "max_tokens": 3, "ignore_eos": True})
            self.assertEqual(status, 200, answer)
            self.assertEqual(answer["usage"]["completion_tokens"], min(3, CONTEXT - size))
            self.assertEqual(answer["choices"][0]["finish_reason"], "length")
        for size in (0, CONTEXT, CONTEXT + 1):
            status, answer = self.server.post("/v1/completions", {"prompt": [token] * size, "max_tokens": 3})
            self.assertEqual(status, 400, size)
        self.assertIn("maximum context length", answer["error"]["message"])

    def test_bad_bodies_cost_nothing_else(self):
        good = json.dumps({"messages": USER, "max_tokens": 1})
        for body in ("", "{", "[]", "null", "\"x\"", good[:-1], good + "x", "{\"messages\":[],\"messages\":[]}",
                     "[" * 100_000, json.dumps({"messages": "x"}), json.dumps({"messages": [None]}),
                     json.dumps({"messages": [{"role": "user", "content": {"a": 1}}]}),
                     json.dumps({"messages": [{"role": "wizard", "content": "x"}]}),
                     json.dumps({"messages": USER, "tools": [{"type": "function"}]}),
                     json.dumps({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]})):
            status, answer = self.server.post("/v1/chat/completions", body)
            self.assertEqual(status, 400, (body[:60], answer))
            self.assertEqual(answer["error"]["code"], 400)
        self.assertEqual(self.server.post("/v1/chat/completions", good)[0], 200)

    def test_broken_http(self):
        for raw, status in ((b"GET / HTTP/1.1\r\n\r\n", b"400"), (b"nonsense\r\n\r\n", b"400"),
                            (b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"x" * 50_000 + b"\r\n\r\n", b"431"),
                            (b"POST /tokenize HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999\r\n\r\n", b"413")):
            with self.server.socket() as connection:
                connection.sendall(raw)
                self.assertEqual(connection.recv(12)[9:12], status, raw[:40])

    def test_metrics_move(self):
        name = "vllm:generation_tokens_total"
        before = self.server.metric(name)
        self.server.post("/v1/completions", {"prompt": "The", "max_tokens": 5, "ignore_eos": True})
        deadline = time.monotonic() + 5  # an answer may be faster than the engine's bookkeeping
        while self.server.metric("vllm:num_requests_running") or self.server.metric(name) - before < 5:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)
        self.assertEqual(self.server.metric(name) - before, 5)


if __name__ == "__main__":
    unittest.main()
