"""Asks the demo model the questions of questions/*.jsonl and prints a table with the bars it has to meet.

    evaluate.py --model FOLDER                       with Transformers (BF16; a W4A16 folder is dequantized first)
    evaluate.py --url http://127.0.0.1:8000/v1       with any OpenAI-compatible server (Sheaf, vLLM ...)

Greedy unless --temperature is given. --save FILE keeps every answer; --show prints the wrong ones. Exit status 1 when a bar
is missed (--bars bf16 or w4a16).
"""

import argparse
import concurrent.futures
import glob
import json
import os
import re
import sys
import unicodedata
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
BARS = {"bf16": {"fact": 0.97, "arithmetic": 0.97, "tool": 0.97, "unknown": 0.80, "ends": 0.99},
        "w4a16": {"fact": 0.95, "arithmetic": 0.95, "tool": 0.97, "unknown": 0.80, "ends": 0.99}}
UNKNOWN = re.compile(r"\b(don't know|do not know|not know|cannot know|can't know)\b")
CALL = re.compile(r"<tool_call>\n<function=([^>\n]+)>\n(.*?)</function>\n</tool_call>", re.S)
PARAMETER = re.compile(r"<parameter=([^>\n]+)>\n(.*?)\n</parameter>\n", re.S)


def normal(text):
    text = unicodedata.normalize("NFKD", text.lower().replace("\u2019", "'"))
    return re.sub(r"\s+", " ", re.sub(r"[^\w'. ]", " ", text)).strip(" .")


def typed(value, schema):
    """A raw parameter text as the type its schema names; the text itself when it does not parse."""
    kind = schema.get("type", "string")
    try:
        if kind == "boolean":
            return {"true": True, "false": False}[value.strip().lower()]
        if kind in ("integer", "number", "array", "object"):
            return json.loads(value)
    except (KeyError, ValueError):
        pass
    return value


def parse_calls(text, tools):
    """(calls, well formed) of a raw completion in the qwen3_coder form."""
    schemas = {t["function"]["name"]: t["function"]["parameters"]["properties"] for t in tools or []}
    calls = []
    for name, body in CALL.findall(text):
        arguments = {k: typed(v, schemas.get(name, {}).get(k, {})) for k, v in PARAMETER.findall(body)}
        if PARAMETER.sub("", body).strip():
            return calls, False
        calls.append({"name": name, "arguments": arguments})
    return calls, not CALL.sub("", text).strip() and bool(calls)


def judge(entry, reply):
    """Whether one reply is right. reply: content, calls, well_formed, ends."""
    expect, content = entry["expect"], normal(reply["content"])
    if "calls" in expect:
        return reply["well_formed"] and reply["calls"] == expect["calls"]
    if reply["calls"]:
        return False
    if expect.get("unknown"):
        return bool(UNKNOWN.search(content))
    if "text" in expect:
        return content == normal(expect["text"])
    if UNKNOWN.search(content):
        return False
    if expect.get("last_number"):
        numbers = re.findall(r"\d+", content)
        return bool(numbers) and numbers[-1] == expect["any"][0]
    return any(re.search(rf"(?<!\w){re.escape(normal(value))}(?!\w)", content) for value in expect["any"])


class TransformersModel:
    def __init__(self, folder, batch, temperature, dtype):
        import torch
        import transformers
        from tokenizers import Tokenizer

        from conversations import Renderer
        from quantized_loader import load_any

        transformers.logging.set_verbosity_error()
        self.torch, self.batch, self.temperature = torch, batch, temperature
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = load_any(folder, getattr(torch, dtype)).to(self.device).eval()
        self.tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
        with open(f"{folder}/chat_template.jinja", encoding="utf-8") as f:
            self.renderer = Renderer(f.read())
        with open(f"{folder}/generation_config.json", encoding="utf-8") as f:
            self.stops = json.load(f)["eos_token_id"]

    def ask(self, entries, most):
        prompts = [self.tokenizer.encode(self.renderer.render(e["messages"], e["tools"], e["thinking"])).ids for e in entries]
        replies = [None] * len(entries)
        order = sorted(range(len(entries)), key=lambda i: len(prompts[i]))
        sampling = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        if self.temperature:
            sampling = {"do_sample": True, "temperature": self.temperature, "top_p": 0.95, "top_k": 20}
        for k in range(0, len(order), self.batch):
            part = order[k:k + self.batch]
            width = max(len(prompts[i]) for i in part)
            # Padding stands on the left and is masked: it leaves the DeltaNet state at zero and attention does not see it.
            ids = self.torch.tensor([[self.stops[-1]] * (width - len(prompts[i])) + prompts[i] for i in part], device=self.device)
            mask = self.torch.tensor([[0] * (width - len(prompts[i])) + [1] * len(prompts[i]) for i in part], device=self.device)
            with self.torch.no_grad():
                out = self.model.generate(ids, attention_mask=mask, max_new_tokens=most, eos_token_id=self.stops, pad_token_id=self.stops[-1], **sampling)
            for row, i in zip(out[:, width:].tolist(), part):
                end = next((n for n, t in enumerate(row) if t in self.stops), None)
                text = self.tokenizer.decode(row[:end], skip_special_tokens=False)
                replies[i] = self.reply(entries[i], text, end is not None)
        return replies

    @staticmethod
    def reply(entry, text, ends):
        if entry["thinking"]:
            _, mark, content = text.partition("</think>")
            content = content if mark else ""
        else:
            content = text
        content = content.strip("\n")
        calls, well_formed = parse_calls(content, entry["tools"]) if "<tool_call>" in content or "<function" in content else ([], False)
        return {"content": content, "raw": text, "calls": calls, "well_formed": well_formed, "ends": ends}


class Server:
    def __init__(self, url, model, streams, temperature):
        self.url, self.streams, self.temperature = url.rstrip("/"), streams, temperature
        if not self.url.endswith("/v1"):
            self.url += "/v1"
        self.model = model or json.load(urllib.request.urlopen(f"{self.url}/models"))["data"][0]["id"]

    def one(self, entry, most):
        messages = []
        for message in entry["messages"]:
            message = dict(message)
            if message.get("tool_calls"):
                message["tool_calls"] = [c | {"function": c["function"] | {"arguments": json.dumps(c["function"]["arguments"], ensure_ascii=False)}} for c in message["tool_calls"]]
            messages.append(message)
        body = {"model": self.model, "messages": messages, "temperature": self.temperature, "max_tokens": most,
                "chat_template_kwargs": {"enable_thinking": entry["thinking"]}}
        if entry["tools"]:
            body["tools"] = entry["tools"]
        request = urllib.request.Request(f"{self.url}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=600) as response:
            choice = json.load(response)["choices"][0]
        calls, well_formed = [], True
        for call in choice["message"].get("tool_calls") or []:
            try:
                calls.append({"name": call["function"]["name"], "arguments": json.loads(call["function"]["arguments"])})
            except ValueError:
                well_formed = False
        content = choice["message"].get("content") or ""
        return {"content": content, "raw": json.dumps(choice["message"], ensure_ascii=False), "calls": calls,
                "well_formed": well_formed and bool(calls) and not content.strip(), "ends": choice["finish_reason"] in ("stop", "tool_calls")}

    def ask(self, entries, most):
        with concurrent.futures.ThreadPoolExecutor(self.streams) as pool:
            return list(pool.map(lambda e: self.one(e, most), entries))


def table(entries, replies, bars, show):
    results = {}
    for entry, reply in zip(entries, replies):
        right = judge(entry, reply)
        row = results.setdefault(entry["kind"], {"right": 0, "count": 0, True: [0, 0], False: [0, 0]})
        row["right"] += right
        row["count"] += 1
        row[entry["thinking"]][0] += right
        row[entry["thinking"]][1] += 1
        if show and not right:
            print(f"WRONG {entry['id']}: {entry['messages'][-1]['content']!r} -> {reply['raw']!r}; expected {json.dumps(entry['expect'], ensure_ascii=False)}")
    ends = sum(r["ends"] for r in replies)
    good = True
    print(f"{'kind':<14}{'right':>12}{'share':>9}{'thinking':>10}{'direct':>9}{'bar':>7}")
    for kind, row in results.items():
        share, bar = row["right"] / row["count"], bars.get(kind)
        good &= bar is None or share >= bar
        part = lambda p: f"{p[0] / p[1]:.1%}" if p[1] else "-"
        print(f"{kind:<14}{row['right']:>6}/{row['count']:<5}{share:>9.1%}{part(row[True]):>10}{part(row[False]):>9}"
              f"{'' if bar is None else f'{bar:.0%}':>7}{'' if bar is None or share >= bar else '  MISSED'}")
    share = ends / len(replies)
    good &= share >= bars["ends"]
    print(f"{'ends itself':<14}{ends:>6}/{len(replies):<5}{share:>9.1%}{'':>19}{bars['ends']:>7.0%}{'' if share >= bars['ends'] else '  MISSED'}")
    return good


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", help="checkpoint folder (or the server's model name with --url)")
    parser.add_argument("--url", help="base URL of an OpenAI-compatible server")
    parser.add_argument("--questions", default=f"{HERE}/questions")
    parser.add_argument("--kinds", help="comma-separated file names, e.g. facts,tools")
    parser.add_argument("--limit", type=int, default=0, help="questions per file")
    parser.add_argument("--bars", choices=list(BARS), default="bf16")
    parser.add_argument("--max-tokens", type=int, default=300)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--save")
    parser.add_argument("--show", action="store_true")
    args = parser.parse_args()
    entries = []
    for path in sorted(glob.glob(f"{args.questions}/*.jsonl")):
        if args.kinds and os.path.basename(path)[:-6] not in args.kinds.split(","):
            continue
        with open(path, encoding="utf-8") as f:
            lines = [json.loads(line) for line in f]
        entries += lines[:args.limit] if args.limit else lines
    model = Server(args.url, args.model, args.streams, args.temperature) if args.url else TransformersModel(args.model, args.batch, args.temperature, args.dtype)
    replies = model.ask(entries, args.max_tokens)
    if args.save:
        with open(args.save, "w", encoding="utf-8") as f:
            for entry, reply in zip(entries, replies):
                f.write(json.dumps({"id": entry["id"], "right": judge(entry, reply), **reply}, ensure_ascii=False) + "\n")
    sys.exit(0 if table(entries, replies, BARS[args.bars], args.show) else 1)


if __name__ == "__main__":
    main()
