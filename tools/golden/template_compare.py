"""Compares the program's rendering of chat templates with jinja2's.

    template_compare.py --program RENDERER [--templates FOLDER]... [--conversations N] [--fuzz N] [--seed S]

RENDERER reads JSONL (tests/template/render_jsonl.cpp). Each conversation goes through every template of the folders; the
fuzz makes small random templates. Differences are printed, the exit status is then 1.
"""

import argparse
import json
import pathlib
import random
import re
import subprocess
import sys

from template_conversations import Conversations
from template_fuzz import TemplateMaker
from template_reference import chat_variables, render

# What Python prints of an object without a text of its own; nothing to compare.
ADDRESS = re.compile(r"0x[0-9a-f]{8,}", re.IGNORECASE)


def conversation_cases(folders, count, seed):
    sources = [p.read_text(encoding="utf-8") for folder in folders for p in sorted(pathlib.Path(folder).rglob("*.jinja"))]
    maker = Conversations(random.Random(seed))
    for i in range(count):
        case = maker.case()
        for index, source in enumerate(sources):
            line = dict(case, template=index)
            if i == 0:
                line["source"] = source
            yield line, source, chat_variables(case)


def fuzz_cases(count, seed):
    for i in range(count):
        maker = TemplateMaker(random.Random(seed * 1_000_003 + i))
        source, variables = maker.template(), maker.variables()
        yield {"source": source, "variables": variables}, source, variables


def differs(expected, got):
    if "text" in expected:
        if ADDRESS.search(expected["text"]):
            return False
        return got.get("text") != expected["text"]
    if "raised" in expected:
        return got.get("error") != expected["raised"]
    return "error" not in got


def compare(program, cases, name, shown):
    cases = list(cases)
    lines = "\n".join(json.dumps(line, ensure_ascii=False) for line, _, _ in cases)
    run = subprocess.run([program], input=lines.encode(), stdout=subprocess.PIPE, check=False)
    answers = [json.loads(line) for line in run.stdout.decode().split("\n") if line]
    if run.returncode != 0 or len(answers) != len(cases):
        print(f"{name}: the program gave {len(answers)} of {len(cases)} answers, status {run.returncode}")
        return 1
    bad = 0
    kinds = {"text": 0, "raised": 0, "error": 0}
    for (line, source, variables), got in zip(cases, answers):
        expected = render(source, variables)
        kinds[next(iter(expected))] += 1
        if not differs(expected, got):
            continue
        bad += 1
        if bad <= shown:
            shown_line = {k: v for k, v in line.items() if k != "source"}
            print(f"--- {name}, difference {bad}")
            print(source if len(source) < 1500 else source[:200] + " ...")
            print(json.dumps(shown_line, ensure_ascii=False)[:3000])
            print("expected", json.dumps(expected, ensure_ascii=False)[:3000])
            print("got     ", json.dumps(got, ensure_ascii=False)[:3000])
    print(f"{name}: {len(cases)} renderings ({kinds['text']} texts, {kinds['raised']} refusals, {kinds['error']} errors), {bad} differ")
    return bad


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--templates", action="append", default=[])
    parser.add_argument("--conversations", type=int, default=0)
    parser.add_argument("--fuzz", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shown", type=int, default=5)
    options = parser.parse_args()
    bad = 0
    if options.conversations:
        cases = conversation_cases(options.templates, options.conversations, options.seed)
        bad += compare(options.program, cases, "conversations", options.shown)
    if options.fuzz:
        bad += compare(options.program, fuzz_cases(options.fuzz, options.seed), "random templates", options.shown)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
