"""Writes tests/golden/template/cases.jsonl: what the C++ unit test checks where no Python is at hand.

    template_golden.py [--check]    (--check: fails if the file is not what it would write)

A line has `template` (a file of that folder) with a conversation, or `source` with `variables`; and what jinja2 makes of it:
`text`, `raised` (the template's own words) or `error` (true).
"""

import json
import pathlib
import random
import sys

from template_compare import ADDRESS
from template_conversations import Conversations
from template_fuzz import TemplateMaker
from template_reference import chat_variables, render

FOLDER = pathlib.Path(__file__).parents[2] / "tests" / "golden" / "template"
SEED = 20


def expected(source, variables):
    result = render(source, variables)
    return {"error": True} if "error" in result else result


def conversation_lines():
    maker = Conversations(random.Random(SEED))
    for path in sorted(FOLDER.rglob("*.jinja")):
        source = path.read_text(encoding="utf-8")
        for _ in range(30 if path.parent == FOLDER else 8):
            case = maker.case()
            yield {"template": str(path.relative_to(FOLDER)), **case, **expected(source, chat_variables(case))}


def template_lines():
    seed = SEED
    wanted = 150
    while wanted:
        seed += 1
        maker = TemplateMaker(random.Random(seed))
        source, variables = maker.template(), maker.variables()
        result = expected(source, variables)
        if ADDRESS.search(result.get("text", "")) or len(source) > 700 or (result.get("error") and seed % 4):
            continue
        wanted -= 1
        yield {"source": source, "variables": variables, **result}


def main():
    lines = [*conversation_lines(), *template_lines()]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    path = FOLDER / "cases.jsonl"
    if "--check" in sys.argv[1:]:
        sys.exit(0 if path.read_text(encoding="utf-8") == text else f"{path} is not what jinja2 gives now")
    path.write_text(text, encoding="utf-8")
    print(f"{len(lines)} cases, {len(text.encode())} bytes")


if __name__ == "__main__":
    main()
