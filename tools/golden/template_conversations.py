"""Random conversations for chat templates: well-formed ones, odd ones, and ones that a template must refuse."""

TEXTS = [
    "", "Hi", "What is 2 + 2?", "  spaces around \n", "Grüße, Zoë! 你好 😀 e\u0301", "line one\nline two\n\nline four", "a < b && c > \"d\" 'e'",
    "{{ not_a_variable }} {% if %}", "</think> stray", "<think>\nI think so.\n</think>\n\nYes.", "<think>\n\n</think>\n\nNo.",
    "<think>a</think><think>b</think>c", "<tool_response>\nfake\n</tool_response>", "<tool_response> open", "\n\n\nnewlines\n\n\n",
    "\tTab\u00a0nbsp\u3000ideographic ", "True", "null", "0", "\\n backslash \\ ", "\u0130\u0131\u00df\ufb01 \u03a3\u03a3", "x" * 300, "<|im_end|>",
]
WORDS = ["city", "days", "path", "código", "a b", "items", "keys", "values", "name", "text", "type", "image", "options", "数", "x-y", "get"]
NUMBERS = [0, 1, -1, 3, 42, 10**12, 2**53, -(2**63), 2**63 - 1, 2**64 - 1]
REALS = [0.0, 1.0, -0.5, 3.14, 1e16, 1e-7, 123456.789, 2.5e-10, 1e22, 0.1]


class Conversations:
    """Half of them are plain text in good order, a fifth have media, the rest are wild."""

    def __init__(self, random):
        self.random = random
        self.manner = "wild"

    def chance(self, probability):
        return self.random.random() < probability

    def text(self):
        if self.chance(0.7):
            return self.random.choice(TEXTS)
        return " ".join(self.random.choice(TEXTS) for _ in range(self.random.randint(1, 3)))

    def value(self, depth=0):
        kind = self.random.randint(0, 7 if depth < 3 else 5)
        if kind == 0:
            return self.random.choice(NUMBERS)
        if kind == 1:
            return self.random.choice(REALS)
        if kind == 2:
            return self.random.choice([True, False, None])
        if kind <= 5:
            return self.text()
        if kind == 6:
            return [self.value(depth + 1) for _ in range(self.random.randint(0, 3))]
        return {self.random.choice(WORDS): self.value(depth + 1) for _ in range(self.random.randint(0, 3))}

    def arguments(self):
        if self.manner == "wild" and self.chance(0.08):
            return self.random.choice(["{}", '{"city": "Bonn"}', "not json", None, [], 5])
        return {self.random.choice(WORDS): self.value() for _ in range(self.random.randint(0, 4))}

    def call(self):
        function = {"name": self.random.choice(["weather", "edit_file", "搜索", "f"]), "arguments": self.arguments()}
        if self.manner == "wild" and self.chance(0.05):
            del function["arguments"]
        if self.manner == "wild" and self.chance(0.1):
            return function
        call = {"type": "function", "function": function}
        if self.manner != "wild" or self.chance(0.5):
            call["id"] = "".join(self.random.choice("abcdefABC123") for _ in range(9))
        return call

    def part(self):
        return self.random.choice(
            [
                {"type": "text", "text": self.text()},
                {"type": "text", "text": self.text()},
                {"type": "image"},
                {"type": "image", "image": "x.png"},
                {"type": "image_url", "image_url": {"url": "http://x/y.png"}},
                {"type": "video"},
                {"type": "video", "video": ["1.png", "2.png"]},
                {"type": "video_url", "video_url": {"url": "v.mp4"}},
                {"text": self.text()},
                {"image_url": "u"},
                {"type": "input_audio", "input_audio": {}},
                {"type": "strange"},
                "bare text",
            ]
        )

    def content(self):
        if self.manner == "plain":
            return self.text()
        if self.manner == "media":
            kinds = ("text", "image", "image_url", "video")
            parts = [p for p in (self.part() for _ in range(5)) if isinstance(p, dict) and p.get("type") in kinds]
            return self.random.choice([self.text(), parts])
        kind = self.random.random()
        if kind < 0.68:
            return self.text()
        if kind < 0.92:
            parts = [self.part() for _ in range(self.random.randint(0, 4))]
            return [p for p in parts if p != {"type": "strange"} or self.chance(0.3)]
        return self.random.choice([None, None, 5, 1.5, True, {"type": "text", "text": "t"}, {}])

    def message(self, role):
        message = {"role": role}
        if self.manner != "wild":
            message["content"] = self.text() if role in ("system", "tool") else self.content()
        elif not self.chance(0.03):
            message["content"] = self.content()
        if role == "assistant":
            if self.chance(0.3):
                key = self.random.choice(["reasoning_content", "reasoning", "thinking"])
                message[key] = self.random.choice([self.text(), self.text(), None, 7]) if self.manner == "wild" else self.text()
            if self.manner != "wild" and self.chance(0.3):
                message["tool_calls"] = [self.call() for _ in range(self.random.choice([1, 1, 2]))]
                if self.chance(0.2):
                    message["content"] = None
            elif self.manner == "wild" and self.chance(0.4):
                calls = [self.call() for _ in range(self.random.randint(0, 3))]
                message["tool_calls"] = self.random.choice([calls, calls, calls, calls, None, {}])
        if role == "tool":
            if self.manner != "wild" or self.chance(0.5):
                message["tool_call_id"] = "abcdefABC"
            if self.chance(0.3):
                message["name"] = "weather"
        return message

    def ordered_messages(self):
        out = [self.message("system")] if self.chance(0.4) else []
        for _ in range(self.random.randint(1, 4)):
            out.append(self.message("user"))
            answer = self.message("assistant")
            while "tool_calls" in answer:
                out.append(answer)
                out += [self.message("tool") for _ in answer["tool_calls"]]
                answer = self.message("assistant")
            out.append(answer)
        return out if self.chance(0.3) else [*out, self.message("user")]

    def messages(self):
        if self.manner != "wild":
            return self.ordered_messages()
        if self.chance(0.01):
            return []
        out = []
        if self.chance(0.5):
            out.append(self.message("system"))
        turns = self.random.randint(1, 5)
        for _ in range(turns):
            if not self.chance(0.05):
                out.append(self.message("user"))
            while self.chance(0.35):
                out.append(self.message("assistant"))
                while self.chance(0.5):
                    out.append(self.message("tool"))
            if self.chance(0.6):
                out.append(self.message("assistant"))
        if self.chance(0.06):
            role = self.random.choice(["system", "developer", "function", "critic", "tool", ""])
            out.insert(self.random.randint(0, len(out)), self.message(role))
        if self.chance(0.3):
            out.append(self.message("user"))
        return out

    def schema(self, depth=0):
        kind = self.random.choice(["string", "integer", "number", "boolean", "array", "object", ["string", "null"]])
        schema = {"type": kind}
        if self.chance(0.5):
            schema["description"] = self.text()
        if self.chance(0.15):
            schema["enum"] = [self.text(), "b"]
        if self.chance(0.1):
            schema["default"] = self.value(2)
        if self.chance(0.1):
            schema["nullable"] = self.chance(0.5)
        if self.chance(0.1) and depth < 2:
            return {"anyOf": [self.schema(depth + 1) for _ in range(2)]}
        if kind == "array" and self.chance(0.8):
            schema["items"] = self.schema(depth + 1) if depth < 2 else {"type": "string"}
        if kind == "object" and depth < 2:
            schema["properties"] = self.properties(depth + 1)
            if self.chance(0.5):
                schema["required"] = list(schema["properties"])[:1]
        return schema

    def properties(self, depth):
        return {self.random.choice(WORDS): self.schema(depth) for _ in range(self.random.randint(0, 3))}

    def tool(self):
        parameters = {"type": "object", "properties": self.properties(0)}
        if self.chance(0.6):
            parameters["required"] = list(parameters["properties"])[:2]
        function = {"name": self.random.choice(["weather", "edit_file", "搜索"]), "description": self.text(), "parameters": parameters}
        if self.chance(0.1):
            function["return"] = {"type": "string", "description": self.text()}
        if self.chance(0.1):
            del function["parameters"]
        return function if self.chance(0.1) else {"type": "function", "function": function}

    def kwargs(self):
        out = {}
        for name, values in {
            "enable_thinking": [True, False, None],
            "add_vision_id": [True, False],
            "preserve_thinking": [True, False],
            "thinking": [True, False],
            "reasoning_effort": ["low", "high"],
            "bos_token": ["<s>", "<|begin|>"],
            "eos_token": ["</s>", "<|end|>"],
            "date_string": ["26 Jul 2024"],
            "tools_in_user_message": [True, False],
            "custom_tools": [None],
        }.items():
            if self.chance(0.3 if "token" not in name else 0.9):
                out[name] = self.random.choice(values)
        return out

    def case(self):
        self.manner = self.random.choices(["plain", "media", "wild"], [5, 2, 3])[0]
        tools = None
        if self.chance(0.4):
            tools = [self.tool() for _ in range(self.random.randint(0, 3))]
        return {
            "messages": self.messages(),
            "tools": tools,
            "add_generation_prompt": self.chance(0.6),
            "kwargs": self.kwargs(),
        }
