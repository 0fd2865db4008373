#!/usr/bin/env python3
"""Trains the small byte-level BPE that the tokenizer's tests run on, with Qwen3.5's pattern and added tokens.

Writes tests/golden/tokenizer/small/{tokenizer,tokenizer_config}.json. The training text is Python's own help topics
and the sentences of tokenizer_texts.py. Needs: tokenizers==0.23.3
"""
import json
import pathlib
import pydoc_data.topics

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

import tokenizer_common as common
import tokenizer_texts as texts

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/tokenizer/small"
SIZE = 3000


def main():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(common.QWEN35_PATTERN), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    trainer = trainers.BpeTrainer(vocab_size=SIZE, show_progress=False,
                                  initial_alphabet=sorted(common.ALPHABET.values()))
    corpus = list(pydoc_data.topics.topics.values())[:40] + (texts.SENTENCES + texts.CODE + texts.EMOJI) * 20
    tokenizer.train_from_iterator(corpus, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    FOLDER.mkdir(parents=True, exist_ok=True)
    vocabulary = dict(sorted(model["vocab"].items(), key=lambda item: item[1]))
    common.write_folder(FOLDER, vocabulary, model["merges"], common.qwen_added_tokens(len(vocabulary)))
    print(f"{len(vocabulary)} tokens, {len(model['merges'])} merges")


if __name__ == "__main__":
    main()
