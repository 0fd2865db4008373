"""The official openai package works against the server unchanged."""
import asyncio
import unittest

import openai

from served import CONTEXT, Served

MESSAGES = [{"role": "user", "content": "What is the capital of France?"}]
PLAIN = {"extra_body": {"chat_template_kwargs": {"enable_thinking": False}}}
TOOLS = [{"type": "function", "function": {
    "name": "get_weather", "description": "The weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}]


class OpenAI(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Served("--api-key", "secret").__enter__()
        cls.client = openai.OpenAI(base_url=cls.server.url + "/v1", api_key="secret", max_retries=0, timeout=120)

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        cls.server.__exit__(None, None, None)

    def chat(self, **more):
        return self.client.chat.completions.create(**({"model": "demo", "messages": MESSAGES, "temperature": 0} | more))

    def test_models(self):
        models = self.client.models.list().data
        self.assertEqual([model.id for model in models], ["demo"])
        self.assertEqual(self.client.models.retrieve("demo").max_model_len, CONTEXT)
        with self.assertRaises(openai.NotFoundError):
            self.client.models.retrieve("other")

    def test_chat(self):
        answer = self.chat(**PLAIN)
        self.assertEqual(answer.object, "chat.completion")
        self.assertEqual(answer.choices[0].message.role, "assistant")
        self.assertIn("Paris", answer.choices[0].message.content)
        self.assertEqual(answer.choices[0].finish_reason, "stop")
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)
        self.assertEqual(answer.usage.completion_tokens_details.reasoning_tokens, 0)

    def test_stream_equals_whole(self):
        for more in (PLAIN, {"extra_body": {"chat_template_kwargs": {"enable_thinking": True}}}):
            whole = self.chat(max_tokens=200, **more)
            content = reasoning = ""
            reasons = []
            with self.chat(max_tokens=200, stream=True, stream_options={"include_usage": True}, **more) as stream:
                for chunk in stream:
                    usage = chunk.usage
                    for choice in chunk.choices:
                        content += choice.delta.content or ""
                        reasoning += getattr(choice.delta, "reasoning_content", None) or ""
                        reasons += [choice.finish_reason] if choice.finish_reason else []
            self.assertEqual(content, whole.choices[0].message.content or "")
            self.assertEqual(reasoning, whole.choices[0].message.reasoning_content or "")
            self.assertEqual(reasons, [whole.choices[0].finish_reason])
            self.assertEqual(usage.completion_tokens, whole.usage.completion_tokens)

    def test_the_packages_own_stream_helper(self):
        with self.client.chat.completions.stream(model="demo", messages=MESSAGES, temperature=0, **PLAIN) as stream:
            for _ in stream:
                pass
            final = stream.get_final_completion()
        self.assertEqual(final.choices[0].message.content, self.chat(**PLAIN).choices[0].message.content)

    def test_tools(self):
        messages = [{"role": "user", "content": "What is the weather in Paris?"}]
        answer = self.chat(messages=messages, tools=TOOLS, **PLAIN)
        self.assertEqual(answer.choices[0].finish_reason, "tool_calls", answer)
        call = answer.choices[0].message.tool_calls[0]
        self.assertEqual(call.function.name, "get_weather")
        self.assertIn("Paris", call.function.arguments)
        pieces = [piece for chunk in self.chat(messages=messages, tools=TOOLS, stream=True, **PLAIN)
                  for choice in chunk.choices for piece in choice.delta.tool_calls or []]
        self.assertEqual("".join(piece.function.arguments or "" for piece in pieces), call.function.arguments)
        self.assertEqual([piece.function.name for piece in pieces if piece.function.name], ["get_weather"])
        follow = messages + [answer.choices[0].message.model_dump(exclude_none=True),
                             {"role": "tool", "tool_call_id": call.id, "content": "sunny, 21 degrees"}]
        self.assertTrue(self.chat(messages=follow, tools=TOOLS, max_tokens=60, **PLAIN).choices[0].finish_reason)

    def test_logprobs(self):
        choice = self.chat(logprobs=True, top_logprobs=3, max_tokens=5, **PLAIN).choices[0]
        self.assertEqual(len(choice.logprobs.content), 5)
        for token in choice.logprobs.content:
            self.assertLessEqual(token.logprob, 0)
            self.assertEqual(len(token.top_logprobs), 3)
            self.assertEqual(token.top_logprobs[0].token, token.token)  # greedy
            self.assertGreaterEqual(token.top_logprobs[0].logprob, token.top_logprobs[2].logprob)

    def test_completions(self):
        answer = self.client.completions.create(model="demo", prompt=["The", "One two"], max_tokens=4, n=2, seed=1, echo=True)
        self.assertEqual([choice.index for choice in answer.choices], [0, 1, 2, 3])
        self.assertTrue(answer.choices[3].text.startswith("One two"))
        scored = self.client.completions.create(model="demo", prompt="The capital of France", max_tokens=0, echo=True, logprobs=1)
        lists = scored.choices[0].logprobs
        self.assertEqual("".join(lists.tokens), "The capital of France")
        self.assertIsNone(lists.token_logprobs[0])
        self.assertTrue(all(value < 0 for value in lists.token_logprobs[1:]))
        text = "".join(chunk.choices[0].text for chunk in
                       self.client.completions.create(model="demo", prompt="The", max_tokens=4, temperature=0, stream=True))
        whole = self.client.completions.create(model="demo", prompt="The", max_tokens=4, temperature=0)
        self.assertEqual(text, whole.choices[0].text)

    def test_seeds_repeat(self):
        def sample(seed):
            return self.client.completions.create(model="demo", prompt="The", temperature=2, seed=seed, max_tokens=20,
                                                  extra_body={"ignore_eos": True}).choices[0].text

        self.assertEqual(sample(7), sample(7))
        self.assertGreater(len({sample(seed) for seed in range(6)}), 1)

    def test_errors(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            self.chat(temperature=-3)
        self.assertEqual(caught.exception.param, "temperature")
        with self.assertRaises(openai.NotFoundError):
            self.chat(model="gpt-5")
        with self.assertRaises(openai.BadRequestError) as caught:
            self.chat(messages=[{"role": "user", "content": "word " * 3 * CONTEXT}])
        self.assertIn("maximum context length", str(caught.exception))
        stranger = openai.OpenAI(base_url=self.server.url + "/v1", api_key="wrong", max_retries=0)
        with self.assertRaises(openai.AuthenticationError):
            stranger.models.list()
        stranger.close()

    def test_many_at_once(self):
        async def ask(client, number):
            stream = await client.chat.completions.create(
                model="demo", messages=MESSAGES, temperature=0, max_tokens=40, stream=True, **PLAIN)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])

        async def run():
            async with openai.AsyncOpenAI(base_url=self.server.url + "/v1", api_key="secret", max_retries=0) as client:
                return await asyncio.gather(*(ask(client, number) for number in range(24)))

        alone = self.chat(max_tokens=40, **PLAIN).choices[0].message.content
        self.assertEqual(set(asyncio.run(run())), {alone})


if __name__ == "__main__":
    unittest.main()
