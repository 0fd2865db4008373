"""Trains the demo model's byte-level BPE on its own conversations and on dictionary prose, with Qwen's pre-tokenizer.

    build_tokenizer.py FACTS.json OUT_FOLDER [conversations]

Writes tokenizer.json (with the first 26 added tokens) and tokenizer_config.json (with all 33, as the real files have it).
"""

import json
import os
import random
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from conversations import Conversations, Renderer

BASE_VOCABULARY = 8100
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
           r"|\s*[\r\n]+|\s+(?!\S)|\s+")
ADDED = """<|endoftext|> <|im_start|> <|im_end|> <|object_ref_start|> <|object_ref_end|> <|box_start|> <|box_end|> <|quad_start|>
<|quad_end|> <|vision_start|> <|vision_end|> <|vision_pad|> <|image_pad|> <|video_pad|> <tool_call> </tool_call> <|fim_prefix|>
<|fim_middle|> <|fim_suffix|> <|fim_pad|> <|repo_name|> <|file_sep|> <tool_response> </tool_response> <think> </think>
<|audio_start|> <|audio_end|> <tts_pad> <tts_text_bos> <tts_text_eod> <tts_text_bos_single> <|audio_pad|>""".split()
NOT_SPECIAL = set("""<tool_call> </tool_call> <|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|fim_pad|> <|repo_name|> <|file_sep|>
<tool_response> </tool_response> <think> </think>""".split())
IN_TOKENIZER_JSON = 26


def corpus(facts, template, count):
    rng = random.Random(11)
    maker, renderer = Conversations(facts), Renderer(template)
    for _ in range(count):
        text = "".join(part for part, _ in renderer.segments(maker.sample(rng)))
        for token in ADDED:
            text = text.replace(token, "\n")
        yield text
    yield from facts["prose"]
    yield from facts["examples"]


def main():
    facts_path, out = sys.argv[1], sys.argv[2]
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 60000
    with open(facts_path, encoding="utf-8") as f:
        facts = json.load(f)
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "chat_template.jinja"), encoding="utf-8") as f:
        template = f.read()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), behavior="isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(vocab_size=BASE_VOCABULARY, min_frequency=2, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(corpus(facts, template, count), trainer)
    assert tokenizer.get_vocab_size() == BASE_VOCABULARY
    token = lambda text: AddedToken(text, special=text not in NOT_SPECIAL, normalized=False)
    tokenizer.add_tokens([token(text) for text in ADDED[:IN_TOKENIZER_JSON]])
    os.makedirs(out, exist_ok=True)
    tokenizer.save(f"{out}/tokenizer.json")
    ids = {text: BASE_VOCABULARY + i for i, text in enumerate(ADDED)}
    assert all(tokenizer.token_to_id(t) == ids[t] for t in ADDED[:IN_TOKENIZER_JSON])
    decoder = {str(ids[t]): {"content": t, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": t not in NOT_SPECIAL} for t in ADDED}
    config = {"add_bos_token": False, "add_prefix_space": False, "added_tokens_decoder": decoder, "bos_token": None, "clean_up_tokenization_spaces": False,
              "eos_token": "<|im_end|>", "errors": "replace", "model_max_length": 4096, "pad_token": "<|endoftext|>", "pretokenize_regex": PATTERN,
              "image_token": "<|image_pad|>", "video_token": "<|video_pad|>", "vision_bos_token": "<|vision_start|>", "vision_eos_token": "<|vision_end|>",
              "split_special_tokens": False, "tokenizer_class": "TokenizersBackend", "unk_token": None}
    with open(f"{out}/tokenizer_config.json", "w", encoding="utf-8") as f:
        json.dump(config, f, ensure_ascii=False, indent=2)
        f.write("\n")


if __name__ == "__main__":
    main()
