#!/usr/bin/env python3
"""Measures what Hugging Face `tokenizers` believes about every code point, and writes it as C++ tables.

The library mixes three Unicode versions (its regular expressions, its word boundaries and its NFC each carry their
own data), so tables of any one version would tokenize rare text differently. Everything here is therefore asked of
the library itself, one code point at a time:

    src/processor/unicode_classes.cpp     letter, mark, number, white space, word character; what NFC touches
    src/processor/unicode_nfc_tables.cpp  canonical combining classes, decompositions

Usage: tokenizer_unicode.py [--check]     (--check writes nothing and fails when a file would change)
Needs: tokenizers==0.23.3
"""
import pathlib
import sys
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, __version__, models, normalizers, pre_tokenizers

ROOT = pathlib.Path(__file__).resolve().parents[2]
CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
NFC, NFD = normalizers.NFC(), normalizers.NFD()
LETTER, MARK, NUMBER, SPACE, WORD, REORDERS, CHANGES = (1 << i for i in range(7))


def regex_class(pattern):
    """Code points that the library's regular expressions put into a class."""
    text = "".join(map(chr, CODE_POINTS))
    kept = set()
    for _, (begin, end) in pre_tokenizers.Split(Regex(pattern), "removed").pre_tokenize_str(text):
        kept.update(range(begin, end))
    return {c for i, c in enumerate(CODE_POINTS) if i not in kept}


def added_token_class(**flags):
    """Code points that change what the added token XYZ matches when they follow it: None, or taken along."""
    tokenizer = Tokenizer(models.WordLevel(vocab={"[U]": 0}, unk_token="[U]"))
    tokenizer.add_tokens([AddedToken("XYZ", normalized=False, **flags)])
    xyz = tokenizer.token_to_id("XYZ")
    refused, taken = set(), set()
    for c in CODE_POINTS:
        ids = tokenizer.encode("XYZ" + chr(c)).ids
        if xyz not in ids:
            refused.add(c)
        elif len(ids) == 1:
            taken.add(c)
    return refused, taken


def decompositions():
    """{code point: its canonical decomposition in one step}, without Hangul syllables."""
    full = {}
    for c in CODE_POINTS:
        d = NFD.normalize_str(chr(c))
        if d != chr(c) and not 0xAC00 <= c <= 0xD7A3:
            full[c] = d
    # NFD gives the whole decomposition. One step is the longest prefix that is itself one character, and the rest:
    # the decomposed form of every intermediate character is in the same table.
    # Where several spell the same, the one that composition makes comes last and wins.
    by_text = {d: c for c, d in sorted(full.items(), key=lambda item: NFC.normalize_str(item[1]) == chr(item[0]))}
    steps = {}
    for c, d in full.items():
        if len(d) <= 2:
            steps[c] = d
        else:
            prefix = d[:-1]
            steps[c] = chr(by_text[prefix]) + d[-1] if prefix in by_text else d
        assert len(steps[c]) <= 2, hex(c)
    return full, steps


def combining_classes():
    """{code point: canonical combining class}; the class is found by what it is sorted before and after."""
    by_class = {}
    for c in CODE_POINTS:  # marks that every Unicode version since 9 agrees on
        ccc = unicodedata.combining(chr(c))
        if ccc and unicodedata.ucd_3_2_0.combining(chr(c)) == ccc and NFD.normalize_str(chr(c)) == chr(c):
            by_class.setdefault(ccc, chr(c))
    # A mark is sorted before the marks of a higher class and after those of a lower one. So a mark takes part in
    # sorting at all when it passes the lowest or the highest class, and its class lies where it stops passing.
    low, high = by_class[min(by_class)], by_class[max(by_class)]
    result = {}
    for c in CODE_POINTS:
        s = chr(c)
        if NFD.normalize_str(s) != s:
            continue
        if NFD.normalize_str("q" + s + low) == "q" + s + low and NFD.normalize_str("q" + high + s) == "q" + high + s:
            continue
        not_above = [k for k, m in by_class.items() if NFD.normalize_str("q" + s + m) == "q" + s + m]
        not_below = [k for k, m in by_class.items() if NFD.normalize_str("q" + m + s) == "q" + m + s]
        equal = set(not_above) & set(not_below)
        if len(equal) == 1:
            result[c] = equal.pop()
        else:  # a class with no older member: it lies strictly between two known ones
            ccc = unicodedata.combining(s)
            below = max(set(not_below) - set(not_above), default=0)
            above = min(set(not_above) - set(not_below), default=255)
            assert not equal and below < ccc < above, (hex(c), ccc, equal, below, above)
            result[c] = ccc
    return result


def ranges(values):
    """[(first code point, value)] wherever the value changes; unlisted code points have value 0."""
    result, last = [], 0
    for c in range(0x110000):
        value = values.get(c, 0)
        if value != last:
            result.append((c, value))
            last = value
    return result


def c_array(kind, name, items, comment):
    lines, line = [], "   "
    for item in items:
        if len(line) + len(item) + 2 > 110:
            lines.append(line)
            line = "   "
        line += f" {item},"
    body = "\n".join(lines + [line])
    return f"// {comment}\nconst {kind} {name}[] = {{\n{body}\n}};\nconst size_t {name}_count = {len(items)};\n\n"


def write(path, text, check):
    if check:
        if path.read_text() != text:
            sys.exit(f"{path.name} does not hold what tokenizers {__version__} does")
    else:
        path.write_text(text)
        print(f"{path.name}: {text.count(chr(10))} lines")


def main():
    check = "--check" in sys.argv[1:]
    classes = {}
    for bit, members in ((LETTER, regex_class(r"\p{L}")), (MARK, regex_class(r"\p{M}")),
                         (NUMBER, regex_class(r"\p{N}")), (SPACE, regex_class(r"\s"))):
        for c in members:
            classes[c] = classes.get(c, 0) | bit
    word, _ = added_token_class(single_word=True)
    _, stripped = added_token_class(rstrip=True)
    assert stripped == {c for c, bits in classes.items() if bits & SPACE}, "two kinds of white space"
    for c in word:
        classes[c] = classes.get(c, 0) | WORD

    full, steps = decompositions()
    ccc = combining_classes()
    for c in ccc:
        classes[c] = classes.get(c, 0) | REORDERS
    composed = {c for c, d in full.items() if NFC.normalize_str(d) == chr(c)}
    changes = {c for c in full if NFC.normalize_str(chr(c)) != chr(c)} | {ord(full[c][-1]) for c in composed}
    changes |= {ord(NFD.normalize_str(chr(c))[i]) for c in range(0xAC00, 0xD7A4) for i in (1, -1)}  # vowels, finals
    for c in changes:
        classes[c] = classes.get(c, 0) | CHANGES

    head = (f"// Generated by tools/golden/tokenizer_unicode.py from tokenizers {__version__}; do not edit.\n"
            '#include "processor/unicode_tables.h"\n\n// clang-format off\nnamespace sheaf::unicode::tables {\n\n')
    tail = "}  // namespace sheaf::unicode::tables\n"
    packed = [f"0x{c:X}{bits:02X}" for c, bits in ranges(classes)]
    write(ROOT / "src/processor/unicode_classes.cpp",
          head + c_array("uint32_t", "class_changes", packed, "Code point << 8 | CharClass bits, valid until the next.")
          + tail, check)

    def pair_items(wanted):
        return [f"{{0x{c:X}, 0x{ord(d[0]):X}, 0x{ord(d[1]):X}}}" for c, d in sorted(steps.items())
                if len(d) == 2 and (c in composed) == wanted]

    singles = [f"{{0x{c:X}, 0x{ord(d):X}}}" for c, d in sorted(steps.items()) if len(d) == 1]
    packed = [f"0x{c:X}{value:02X}" for c, value in ranges(ccc)]
    write(ROOT / "src/processor/unicode_nfc_tables.cpp",
          head + c_array("uint32_t", "combining_changes", packed, "Code point << 8 | combining class, until the next.")
          + c_array("Pair", "pairs", pair_items(True), "Characters that decompose into two and compose again.")
          + c_array("Pair", "split_pairs", pair_items(False), "Characters that decompose into two for good.")
          + c_array("Single", "singles", singles, "Characters that are another spelling of one.")
          + tail, check)


if __name__ == "__main__":
    main()
