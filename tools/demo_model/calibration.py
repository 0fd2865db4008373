"""Writes calibration texts for AutoRound: conversations of the training kinds, joined so that each text is long enough.

    calibration.py FACTS.json OUT.jsonl [count]
"""

import json
import random
import sys

import model_files
from conversations import Conversations, Renderer


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        maker = Conversations(json.load(f))
    with open(f"{model_files.HERE}/chat_template.jinja", encoding="utf-8") as f:
        renderer = Renderer(f.read())
    rng = random.Random(99)
    with open(sys.argv[2], "w", encoding="utf-8") as f:
        for _ in range(int(sys.argv[3]) if len(sys.argv) > 3 else 160):
            text = ""
            while len(text) < 2600:
                text += "".join(part for part, _ in renderer.segments(maker.sample(rng))) + "\n"
            f.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
