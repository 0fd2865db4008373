"""Clients in numbers and clients that leave: the server frees what they held and answers the others the same."""
import json
import threading
import time
import unittest

from served import Served


def body(number, **more):
    return {"prompt": f"{number} and {number + 1} are", "max_tokens": 24, "temperature": 0, "ignore_eos": True} | more


class Load(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Served("--max-num-seqs", "16").__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)

    def idle(self, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.server.metric("vllm:num_requests_running") + self.server.metric("vllm:num_requests_waiting") == 0:
                return True
            time.sleep(0.05)
        return False

    def test_under_load_every_answer_is_as_alone(self):
        def text(number):
            status, answer = self.server.post("/v1/completions", body(number))
            self.assertEqual(status, 200, answer)
            return answer["choices"][0]["text"]

        alone = [text(number) for number in range(12)]
        together = {}
        threads = [threading.Thread(target=lambda n=number: together.__setitem__(n, text(n % 12))) for number in range(36)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([together[number] for number in range(36)], alone * 3)

    def test_clients_that_leave_free_the_engine(self):
        for stream in (True, False):
            connections = []
            for number in range(24):  # more than run at once: some are left while they wait
                connection = self.server.socket()
                data = json.dumps(body(number, max_tokens=1500, stream=stream)).encode()
                connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
                connections.append(connection)
            deadline = time.monotonic() + 30
            while self.server.metric("vllm:num_requests_running") == 0 and time.monotonic() < deadline:
                time.sleep(0.02)
            self.assertGreater(self.server.metric("vllm:num_requests_running"), 0)
            for connection in connections:
                connection.close()
            self.assertTrue(self.idle(5), stream)
            self.assertEqual(self.server.metric("vllm:kv_cache_usage_perc"), 0)

    def test_a_reader_that_stalls_holds_up_nobody(self):
        stalled = self.server.socket()
        data = json.dumps(body(1, max_tokens=1500, stream=True)).encode()
        stalled.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
        try:
            for number in range(4):
                self.assertEqual(self.server.post("/v1/completions", body(number))[0], 200)
        finally:
            stalled.close()
        self.assertTrue(self.idle(5))


if __name__ == "__main__":
    unittest.main()
