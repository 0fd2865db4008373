"""Writes the evaluation's questions (questions/*.jsonl): wordings, names and number pairs that training never sees.

    build_questions.py FACTS.json OUT_FOLDER

A line: id, kind, thinking, messages, tools (or null) and what is expected: {"any": [accepted values]}, {"unknown": true},
{"calls": [{"name", "arguments"}]} or {"text": whole answer}.
"""

import json
import os
import random
import sys

import arithmetic
import conversations
import relations
from conversations import Conversations


def question(kind, number, messages, expect, tools=None):
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    return {"id": f"{kind}-{number:03d}", "kind": kind, "thinking": number % 2 == 1, "messages": messages, "tools": tools, "expect": expect}


def facts_of(maker, rng, count):
    """Every relation in turn, so that small tables count as much as large ones do."""
    weights = [min(len(r.pairs), 60) for r in maker.relations]
    for i in range(count):
        rel = maker.relations[i % len(maker.relations)] if i < 2 * len(maker.relations) else rng.choices(maker.relations, weights)[0]
        x, v = rng.choice(rel.pairs)
        yield question("fact", i, relations.phrase_question(rng, rel, x, held=True), {"any": sorted({w for y, w in rel.pairs if y == x})})


def arithmetic_of(rng, count):
    for i in range(count):
        op, a, b = arithmetic.pair(rng, True)
        yield question("arithmetic", i, arithmetic.question(rng, op, a, b, True), {"any": [str(arithmetic.value(op, a, b))], "last_number": True})


def unknown_of(maker, rng, count):
    for i in range(count):
        _, text, _, _ = maker.unknowns.sample(rng, held=True)
        yield question("unknown", i, text, {"unknown": True})


def tools_of(maker, rng, count):
    for i in range(count):
        task = maker.tools.task(rng, held=True)
        tools = maker.tools.with_tools(rng, task)
        yield question("tool", i, task["request"], {"calls": [{"name": task["name"], "arguments": task["arguments"]}]}, tools)


def tool_answers_of(maker, rng, count):
    for i in range(count):
        task = maker.tools.from_family(rng, held=True)
        result, say = maker.tools.result(rng, task)
        call = {"id": f"call_{i}", "type": "function", "function": {"name": task["name"], "arguments": task["arguments"]}}
        messages = [{"role": "user", "content": task["request"]}, {"role": "assistant", "content": "", "tool_calls": [call]},
                    {"role": "tool", "tool_call_id": f"call_{i}", "content": result}]
        yield question("tool_answer", i, messages, {"text": say}, maker.tools.with_tools(rng, task, most=1))


def talk_of(maker, rng, count):
    greetings = [(text, answer) for answer, texts in conversations.HELD_GREETINGS.items() for text in texts.split("|")]
    for i in range(count):
        if i < len(greetings):
            yield question("talk", i, greetings[i][0], {"text": greetings[i][1]})
            continue
        made = maker.make_memory(rng, held=True) if i % 2 else maker.make_follow(rng, held=True)
        yield question("talk", i, made["messages"], {"text": made["steps"][-1]["answer"]})


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        maker = Conversations(json.load(f))
    os.makedirs(sys.argv[2], exist_ok=True)
    rng = random.Random(20261123)
    files = {"facts": facts_of(maker, rng, 300), "arithmetic": arithmetic_of(rng, 100), "unknown": unknown_of(maker, rng, 160),
             "tools": tools_of(maker, rng, 160), "tool_answers": tool_answers_of(maker, rng, 40), "talk": talk_of(maker, rng, 80)}
    for name, questions in files.items():
        with open(f"{sys.argv[2]}/{name}.jsonl", "w", encoding="utf-8") as f:
            for entry in questions:
                f.write(json.dumps(entry, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
