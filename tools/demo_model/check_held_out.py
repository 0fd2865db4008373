"""Checks that training never makes what the evaluation asks: no held-out tool wording, no request of questions/tools.jsonl.

    check_held_out.py FACTS.json [tasks]

Makes that many training requests (default 60,000) and exits with status 1 when one of them is held out.
"""

import json
import random
import sys

import model_files
from conversations import Conversations
from tool_families import FAMILIES
from tool_tasks import GENERIC_HELD, bare


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        tools = Conversations(json.load(f)).tools
    with open(f"{model_files.HERE}/questions/tools.jsonl", encoding="utf-8") as f:
        asked = {bare(json.loads(line)["messages"][0]["content"]) for line in f}
    held = {bare(wording) for family in FAMILIES for wording in family["held"]} | {bare(wording) for wording in GENERIC_HELD.split("|")}
    rng, wordings, found = random.Random(4), set(), 0
    for _ in range(int(sys.argv[2]) if len(sys.argv) > 2 else 60000):
        task = tools.task(rng)
        wording = bare(task.get("wording", ""))
        wordings.add(wording)
        if wording in held or bare(task["request"]) in asked:
            found += 1
            print(f"held out, but made for training: {task['request']!r}")
    print(f"{len(wordings)} different wordings of the hand-written tools, {found} requests held out")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
