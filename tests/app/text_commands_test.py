"""prompt, generate and chat on the demo model."""
import json
import signal
import tempfile
import time
import unittest
from pathlib import Path

from sheaf_cli import TALKER, TINY, Expectations, results, sheaf, start

QUESTION = "What is the capital of France?"


class Prompt(unittest.TestCase, Expectations):
    def prompts(self, *lines, arguments=()):
        process = sheaf("prompt", TALKER, "--input", "-", *arguments, text="".join(json.dumps(line) + "\n" for line in lines))
        self.assert_done(process)
        return results(process)

    def test_messages(self):
        first, second = self.prompts({"messages": [{"role": "user", "content": "Hello"}]},
                                     {"id": "b", "messages": [{"role": "user", "content": "Hello"}],
                                      "chat_template_kwargs": {"enable_thinking": False}})
        self.assertEqual((first["id"], second["id"]), (0, "b"))
        self.assertIn("<|im_start|>user\nHello<|im_end|>", first["text"])
        self.assertNotEqual(first["text"], second["text"])
        self.assertEqual(first["position_ids"], [list(range(len(first["token_ids"])))] * 3)
        self.assertEqual((first["images"], first["videos"]), ([], []))

    def test_flag_is_the_short_form(self):
        process = sheaf("prompt", TALKER, "--prompt", "Hello", "--system", "Be brief.")
        self.assert_done(process)
        line, = self.prompts({"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]})
        self.assertEqual(results(process)[0], line)

    def test_tokens_and_text_are_inverse(self):
        text, = self.prompts({"prompt": "<|im_start|>user\nnaïve ☃<|im_end|>"})
        tokens, = self.prompts({"token_ids": text["token_ids"]})
        self.assertEqual(tokens["text"], text["text"])
        self.assertEqual(tokens["text_skip_special"], "user\nnaïve ☃")

    def test_bad_lines_do_not_end_the_run(self):
        process = sheaf("prompt", TALKER, "--input", "-",
                        text='{"prompt": "a"}\nnonsense\n\n{"id": "x"}\n{"prompt": "b", "messages": []}\n[1]\n{"prompt": "c"}\n')
        self.assert_done(process)
        lines = results(process)
        self.assertEqual(["error" in line for line in lines], [False, True, True, True, True, False])
        self.assertEqual([line["id"] for line in lines], [0, 1, "x", 4, 5, 6])
        self.assertIn("line 2", lines[1]["error"])

    def test_as_is(self):
        line = {"messages": [{"role": "developer", "content": "x"}, {"role": "user", "content": "y"}]}
        raw, = self.prompts(line, arguments=["--as-is"])
        self.assertEqual(list(raw), ["id", "error"])  # the template knows no developer
        self.assertIn("text", self.prompts(line)[0])
        rendered, = self.prompts({"messages": [{"role": "user", "content": "y"}]}, arguments=["--as-is"])
        self.assertEqual(list(rendered), ["id", "text"])

    def test_template_from_a_file(self):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "template.jinja"
            file.write_text("{% for m in messages %}[{{ m.role }}]{% endfor %}")
            self.assertEqual(self.prompts({"messages": [{"role": "user", "content": "y"}]}, arguments=["--chat-template", file])[0]["text"], "[user]")
            self.assert_error(sheaf("prompt", TALKER, "--prompt", "x", "--chat-template", folder + "/absent"), 1, "absent")

    def test_no_tokenizer(self):
        process = sheaf("prompt", TINY, "--input", "-", text='{"token_ids": [1, 2]}\n{"messages": [{"role": "user", "content": "x"}]}\n')
        self.assert_done(process)
        tokens, messages = results(process)
        self.assertEqual(tokens["token_ids"], [1, 2])
        self.assertIn("chat template", messages["error"])
        self.assertIn("no tokenizer.json", process.stderr)


class Generate(unittest.TestCase, Expectations):
    def generate(self, *lines, arguments=()):
        process = sheaf("generate", TALKER, "--input", "-", "--temperature", "0", "--max-tokens", "24", *arguments,
                        text="".join(json.dumps(line) + "\n" for line in lines))
        self.assert_done(process)
        return results(process)

    def test_fields(self):
        line, = self.generate({"id": "q", "messages": [{"role": "user", "content": QUESTION}], "logprobs": True})
        self.assertEqual(line["id"], "q")
        for key in ("prompt_token_ids", "token_ids", "text", "reasoning", "content", "tool_calls", "finish_reason", "usage", "logprobs"):
            self.assertIn(key, line)
        self.assertEqual(line["usage"]["completion_tokens"], len(line["token_ids"]))
        self.assertEqual(line["usage"]["prompt_tokens"], len(line["prompt_token_ids"]))
        self.assertIn(line["finish_reason"], ("stop", "length"))
        self.assertLessEqual(len(line["token_ids"]), 24)

    def test_prompt_field_and_prompt_command_agree(self):
        messages = {"messages": [{"role": "user", "content": QUESTION}]}
        process = sheaf("prompt", TALKER, "--input", "-", text=json.dumps(messages))
        self.assertEqual(self.generate(messages)[0]["prompt_token_ids"], results(process)[0]["token_ids"])

    def test_order_and_bad_lines(self):
        lines = [{"id": f"n{i}", "prompt": "word " * (1 + 37 * (i % 3)), "max_tokens": 1 + 5 * (i % 4)} for i in range(24)]
        lines[5] = {"id": "bad", "prompt": "x", "temperature": -1}
        lines[9] = {"id": "worse", "token_ids": [10**8]}
        answers = self.generate(*lines)
        self.assertEqual([answer["id"] for answer in answers], [line["id"] for line in lines])
        self.assertEqual([answer["id"] for answer in answers if "error" in answer], ["bad", "worse"])
        for line, answer in zip(lines, answers):
            if "error" not in answer:
                self.assertLessEqual(len(answer["token_ids"]), line["max_tokens"])

    def test_one_alone_is_as_one_of_many(self):
        lines = [{"id": i, "messages": [{"role": "user", "content": f"{QUESTION} {i}"}]} for i in range(6)]
        together = self.generate(*lines)
        for line in (lines[0], lines[4]):
            self.assertEqual(self.generate(line)[0]["token_ids"], together[line["id"]]["token_ids"])

    def test_seeds(self):
        line = {"prompt": "The", "temperature": 1.5, "max_tokens": 12}
        first, second = self.generate(line, line, arguments=["--ignore-eos"])
        again, _ = self.generate(line, line, arguments=["--ignore-eos"])
        self.assertEqual(first["token_ids"], again["token_ids"])
        self.assertNotEqual(first["token_ids"], second["token_ids"])
        own, = self.generate(line | {"seed": 1}, arguments=["--ignore-eos", "--seed", "77"])
        self.assertEqual(own["token_ids"], second["token_ids"])

    def test_prompt_flag_prints_just_the_answer(self):
        arguments = ("generate", TALKER, "--prompt", QUESTION, "--temperature", "0", "--max-tokens", "32",
                     "--chat-template-kwargs.enable_thinking", "false")
        plain, structured = sheaf(*arguments), sheaf(*arguments, "--json")
        self.assert_done(plain)
        line, = results(structured)
        self.assertEqual(plain.stdout.rstrip("\n"), (line["content"] or "").rstrip("\n"))
        self.assertTrue(plain.stdout.endswith("\n"))

    def test_too_long_a_prompt(self):
        process = sheaf("generate", TALKER, "--prompt", "word " * 400, "--max-model-len", "64", "--log-level", "error")
        self.assert_error(process, 1, "maximum context length")

    def test_interrupts(self):
        for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            process = start("generate", TALKER, "--input", "-", "--ignore-eos", "--max-tokens", "100000", "--temperature", "0")
            process.stdin.write('{"prompt": "a"}\n' * 3)
            process.stdin.close()
            time.sleep(2)
            process.send_signal(number)
            self.assertEqual(process.wait(timeout=30), status)
            self.assertEqual(process.stdout.read(), "")
            process.stdout.close(), process.stderr.close()


class Chat(unittest.TestCase, Expectations):
    def test_conversation_through_a_pipe(self):
        process = sheaf("chat", TALKER, "--temperature", "0", "--max-tokens", "24", "--no-think", "--log-level", "error",
                        text=f"{QUESTION}\n/think on\n/help\n/image x.png\n/quit\nnever read\n")
        self.assert_done(process)
        self.assertIn("/think on|off", process.stdout)
        self.assertIn("text only", process.stdout)
        answer = sheaf("generate", TALKER, "--prompt", QUESTION, "--temperature", "0", "--max-tokens", "24",
                       "--chat-template-kwargs.enable_thinking", "false").stdout.strip()
        self.assertTrue(answer)
        self.assertTrue(process.stdout.strip().startswith(answer), process.stdout)


if __name__ == "__main__":
    unittest.main()
