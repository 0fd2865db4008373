"""Texts to try a tokenizer on: many scripts, code, numbers, blanks, emoji, combining marks, special tokens, noise.

Everything is made from a seed, so that the same texts come out every time.
"""
import itertools
import random
import unicodedata

import tokenizer_common as common

SENTENCES = [
    "All human beings are born free and equal in dignity and rights.",
    "They are endowed with reason and conscience and should act towards one another in a spirit of brotherhood.",
    "The quick brown fox jumps over the lazy dog; it wasn't amused, and we'll say so.",
    "I'd've thought that you're right: she'll come, he's late, they've gone, I'm here, we can't.",
    "Tous les êtres humains naissent libres et égaux en dignité et en droits. Où est l'hôtel ? Ça va déjà.",
    "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Straßenbahnhaltestelle, Übergröße.",
    "Todos los seres humanos nacen libres e iguales en dignidad y derechos. ¿Qué tal? ¡Mañana!",
    "Todos os seres humanos nascem livres e iguais em dignidade e em direitos. Não há ação em vão.",
    "Tutti gli esseri umani nascono liberi ed eguali in dignità e diritti. Perché no? È così.",
    "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw. Zażółć gęślą jaźń.",
    "Všichni lidé rodí se svobodní a sobě rovní co do důstojnosti a práv. Příliš žluťoučký kůň.",
    "Minden emberi lény szabadon születik és egyenlő méltósága és joga van. Árvíztűrő tükörfúrógép.",
    "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar. İstanbul ışıl ışıl, ĞÜŞ.",
    "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền lợi.",
    "Kaikki ihmiset syntyvät vapaina ja tasavertaisina arvoltaan ja oikeuksiltaan. Hääyöaie.",
    "Hver maður er borinn frjáls og jafn öðrum að virðingu og réttindum. Þið eruð góð.",
    "Все люди рождаются свободными и равными в своём достоинстве и правах. Съешь ещё этих мягких булок.",
    "Усі люди народжуються вільними і рівними у своїй гідності та правах. Її ґанок, об'єкт.",
    "Сите човечки суштества се раѓаат слободни и еднакви по достоинство и права.",
    "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα. ᾧ τινι, ῥᾴδιον.",
    "Բոլոր մարդիկ ծնվում են ազատ ու հավասար իրենց արժանապատվությամբ ու իրավունքներով։",
    "ყველა ადამიანი იბადება თავისუფალი და თანასწორი თავისი ღირსებითა და უფლებებით.",
    "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם. שָׁלוֹם עֲלֵיכֶם",
    "يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق. السَّلَامُ عَلَيْكُمْ ١٢٣٤",
    "تمام افراد بشر آزاد به دنیا می‌آیند و از لحاظ حیثیت و حقوق با هم برابرند. ۱۲۳",
    "تمام انسان آزاد اور حقوق و عزت کے اعتبار سے برابر پیدا ہوئے ہیں۔",
    "ܟܠ ܒܪܢܫܐ ܒܪܝܠܗ ܚܐܪܐ ܘܒܪܒܪ ܓܘ ܐܝܩܪܐ ܘܙܕܩܐ.",
    "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है। क़िला ज़रूर",
    "সমস্ত মানুষ স্বাধীনভাবে সমান মর্যাদা এবং অধিকার নিয়ে জন্মগ্রহণ করে। ড়ঢ়য় ১২৩",
    "ਸਾਰਾ ਮਨੁੱਖੀ ਪਰਿਵਾਰ ਆਪਣੀ ਮਹਿਮਾ, ਸ਼ਾਨ ਅਤੇ ਹੱਕਾਂ ਦੇ ਪੱਖੋਂ ਜਨਮ ਤੋਂ ਹੀ ਆਜ਼ਾਦ ਹੈ।",
    "પ્રતિષ્ઠા અને અધિકારોની દૃષ્ટિએ સર્વ માનવો જન્મથી સ્વતંત્ર અને સમાન હોય છે.",
    "மனிதப் பிறிவியினர் சகலரும் சுதந்திரமாகவே பிறக்கின்றனர்; கொள்கை, கௌரவம்.",
    "ప్రతిపత్తిస్వత్వముల విషయమున మానవులెల్లరును జన్మతః స్వతంత్రులును సమానులును నగుదురు. శ్రీ",
    "ಎಲ್ಲಾ ಮಾನವರೂ ಸ್ವತಂತ್ರರಾಗಿಯೇ ಜನಿಸಿದ್ದಾರೆ. ಹಾಗೂ ಘನತೆ ಮತ್ತು ಹಕ್ಕುಗಳಲ್ಲಿ ಸಮಾನರಾಗಿದ್ದಾರೆ. ಕೋ",
    "മനുഷ്യരെല്ലാവരും തുല്യാവകാശങ്ങളോടും അന്തസ്സോടും സ്വാതന്ത്ര്യത്തോടുംകൂടി ജനിച്ചവരാണ്‌.",
    "සියලු මනුෂ්‍යයෝ නිදහස්ව උපත ලබා ඇත. ගරුත්වයෙන් හා අයිතිවාසිකම්වලින් සමාන වෙති.",
    "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ น้ำ ๑๒๓",
    "ມະນຸດເກີດມາມີສິດເສລີພາບ ແລະ ສະເໝີໜ້າກັນໃນທາງກຽດຕິສັກ ແລະ ສິດດ້ວຍກັນ.",
    "လူတိုင်းသည် တူညီ လွတ်လပ်သော ဂုဏ်သိက္ခာဖြင့် လည်းကောင်း မွေးဖွားလာသူများ ဖြစ်သည်။",
    "មនុស្សទាំងអស់កើតមកមានសេរីភាព និងភាពស្មើៗគ្នាក្នុងសិទ្ធិ និងសេចក្ដីថ្លៃថ្នូរ។",
    "འགྲོ་བ་མིའི་རིགས་རྒྱུད་ཡོངས་ལ་སྐྱེས་ཙམ་ཉིད་ནས་ཆེ་མཐོངས་དང༌། ཐོབ་ཐང་གི་རང་དབང་འདྲ་མཉམ།",
    "የሰው ልጅ ሁሉ ሲወለድ ነጻና በክብርና በመብትም እኩልነት ያለው ነው። ፩፪፫",
    "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。",
    "人人生而自由，在尊嚴和權利上一律平等。臺灣的貓𠮷野家𡃁𪚥。",
    "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。ガギグゲゴ ｶﾞｷﾞ ㍿",
    "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다. 각하 뷁",
    "Хүн бүр төрж мэндлэхдээ эрх чөлөөтэй, адилхан нэр төртэй. ᠬᠦᠮᠦᠨ ᠪᠦᠷ ᠲᠥᠷᠥᠵᠦ",
    "ᎠᏂᏴᏫᎢ ᏂᎦᏓ ᎢᎩᎾᏍᏗ ᎢᏧᎳᎭ. ꭰꮒꮄ ᐃᓄᒃᑎᑐᑦ ᐊᓂᔪᑦ ⵉⵎⴷⴰⵏ ⴰⴽⴽⵯ ߊߘߍ ߡߐ߱ ꆈꌠꁱꂷ",
    "Ọmọnìyàn gbogbo ni a bí ní òmìnira; iyì àti ẹ̀tọ́ kọ̀ọ̀kan sì dọ́gba. Ɔ̀mì ɛ̀ tɔ̀n.",
    "𝕋𝕙𝕖 𝒒𝒖𝒊𝒄𝒌 𝓫𝓻𝓸𝔀𝓷 𝟏𝟐𝟑 ﬁne ﬂuﬀ ﬆ ℌ ℵ ∀x∈ℝ: ⌈x⌉ = −⌊−x⌋, α ∧ ¬β → γ, ∑ᵢ xᵢ² ≤ √2·π",
    "𐎀𐎁𐎂 𐤀𐤁𐤂 𒀀𒀁 𓀀𓀁𓂀 𐌰𐌱𐍈 𑀓𑀺 𑄌𑄋𑄴𑄟𑄳𑄦 𞤀𞤣𞤤𞤢𞤥 𑒀𑒲 𐐀𐐨 𖬀𖬶 𝐀𞸀",
]

CODE = [
    "def f(x: int) -> int:\n    \"\"\"Doc.\"\"\"\n    return x ** 2 if x > 0 else -x\n\n\nprint(f(3), file=sys.stderr)\n",
    "#include <vector>\nint main() {\n\tstd::vector<int> v{1, 2, 3};\n\tfor (auto& x : v) x <<= 2;\t// shift\n\treturn 0;\n}\n",
    "fn main() -> Result<(), Box<dyn Error>> {\r\n    let s = \"héllo\";\r\n    println!(\"{s:?}\");\r\n    Ok(())\r\n}\r\n",
    "SELECT a.id, COUNT(*) AS n FROM t_a a LEFT JOIN t_b ON a.id = t_b.a_id WHERE x <> 'it''s' GROUP BY 1;",
    "{\"key\": [1, 2.5e-3, null, true], \"nested\": {\"ключ\": \"значение\\n\\u00e9\"}, \"s\": \"\\\\\"}",
    "<html><body class='a b'><p>Hello&nbsp;<b>W</b>orld</p><!-- c --></body></html>",
    "$$\\int_0^\\infty e^{-x^2}\\,dx = \\frac{\\sqrt{\\pi}}{2}$$ and $a_{ij} \\neq b^{k}$",
    "https://example.org:8080/a/b.html?q=1&r=%20x#frag  mail: first.last+tag@sub.example.co.uk",
    "2026-11-23T16:25:01.123456+00:00 [WARN] pid=4242 0xDEADBEEF 192.168.0.1/24 fe80::1%eth0 ~/x/../y",
    "for (i = 0; i < n; ++i) { a[i] += b[i]->c.d(e, &f) ? g : !h; } /* *** --- === >>> ||| */",
    "| col | val |\n|-----|----:|\n| `x` | 1,234.56 |\n\n* item\n  1. sub\n\n---\n# Title #\n> quote\n",
    "sudo apt-get install -y --no-install-recommends foo=1.2.3-4+b1 && echo \"$HOME\" | sed 's/\\(a\\)/\\1/g'",
    "diff --git a/x b/x\n@@ -1,3 +1,4 @@ fn\n-old\n+new\n \n\\ No newline at end of file",
    "camelCaseIdentifier snake_case_name SCREAMING_SNAKE kebab-case-name XMLHttpRequest2 __init__ _x9",
    "\tif (a)\n\t\tb();\n\telse\n\t\t  c();\n\n\n\n        d();   \n   \n",
]

EMOJI = ["😀", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "🇯🇵🇺🇸", "1️⃣", "#️⃣", "❤️", "❤", "☺️", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "👩🏿‍🚀", "🫠", "🧑‍💻", "🐻‍❄️", "™️", "🤷🏻‍♂️",
         "🀄", "㊗️", "⌚︎", "🪿", "🫨"]

BLANKS = [" ", "  ", "   ", "\t", "\n", "\r", "\r\n", "\n\n", " \n", "\n ", "\u00a0", "\u3000", "\u2003", "\u2028", "\u2029", "\u0085",
          "\u200b", "\u200d", "\u200c", "\ufeff", "\u1680", "\u202f", "\u000b", "\u000c", "\u001c", "\u180e", "\u2060", "        "]

# One of each kind that a pre-tokenizer tells apart.
KINDS = ["a", "s", "1", " ", "\n", "\r", "\t", "'", ".", "\u0301", "é", "\u00a0", "中", "²"]

CONTRACTIONS = [q + s for q in ("'", "’", "''", " '", "x'", "1'", "\n'")
                for s in ("s", "S", "t", "T", "re", "RE", "rE", "r", "ve", "vE", "v", "m", "M", "ll", "LL", "lL", "l", "d", "D", "ſ", "ſo", "sa", "\u0301s",
                          "so", "ree", "x", " s", "", "ŝ", "s\u0301", "K", "'s")]


def compositions():
    """Texts that NFC changes, and some that look as if."""
    out = ["e\u0301", "e\u0301\u0301", "a\u0323\u0302", "a\u0302\u0323", "q\u0323\u0307", "q\u0307\u0323", "\u1e9b\u0323",
           "\u212b", "\u2126", "\u212a", "\u1fef", "\u037e", "\u0344", "\u0340a", "\uf900\ufa0e", "\U0002f800",
           "\u1100\u1161\u11a8", "\u1100\u1161", "\uac00\u11a8", "\u1100\u1161\u11a7", "\u1100 \u1161", "\uac01\u11a8",
           "\u0958", "\u09c7\u09be", "\u0b92\u0bd7", "\u0bc6\u0bbe", "\u0dd9\u0dcf\u0dca", "\u0cc6\u0cc2\u0cd5",
           "\u1025\u102e", "\u30ab\u3099", "\uff76\uff9e", "\u05e9\u05c1\u05bc", "\ufb2c", "\u0622\u0627\u0653",
           "\U0001d15e", "\U0001d15f", "\U00011099\U000110ba", "\U00011935\U00011930", "\U00011938", "\u0f73", "\u0f71\u0f72",
           "\u0301", "\u0301a", " \u0301", "\n\u0301", "1\u0301", ".\u0301", "\u0300\u0315\u0327\u0345", "\u03b1\u0313\u0300\u0345",
           "\u1f80\u0300", "o\u031b\u0323", "\u1ecd\u031b", "s\u0323\u0307", "\u1e63\u0307", "\u0653\u0654", "\u0627\u0654\u064e", "\u06d5\u0654",
           "x\u0898\u0301\u0323", "x\u0301\u08ca\u0323", "x\u1ac1\u0334", "x\u1dfa\u0323", "\u0c3c\u0c4d", "\U0001e4ec\u0301\u0334",
           "\U000105d2\u0307", "\U00016d67\U00016d67", "\U00016121\U0001611f"]
    return out


def random_text(rng, assigned):
    """A few random pieces next to each other."""
    makers = [
        lambda: rng.choice(SENTENCES)[(k := rng.randrange(40)):k + rng.randrange(1, 40)],
        lambda: rng.choice(CODE)[(k := rng.randrange(60)):k + rng.randrange(1, 40)],
        lambda: rng.choice(EMOJI),
        lambda: rng.choice(BLANKS) * rng.randrange(1, 4),
        lambda: rng.choice(CONTRACTIONS),
        lambda: rng.choice(compositions()),
        lambda: str(rng.randrange(10 ** rng.randrange(1, 12))),
        lambda: rng.choice("abcXYZ") + "".join(chr(rng.randrange(0x300, 0x370)) for _ in range(rng.randrange(1, 6))),
        lambda: "".join(rng.choice("!?.,;:-_/\\|@#$%^&*()[]{}<>=+~`\"'") for _ in range(rng.randrange(1, 6))),
        lambda: "".join(chr(rng.choice(assigned)) for _ in range(rng.randrange(1, 5))),
        lambda: rng.choice([t for t, _ in common.ADDED]),
        lambda: rng.choice(KINDS),
    ]
    return "".join(rng.choice(makers)() for _ in range(rng.randrange(1, 6)))


def special_texts():
    out = []
    for token, _ in common.ADDED:
        out += [token, f"a {token} b", f"\n{token}\n", token + token, token[:-1], token[1:], token.upper(), f"{token[:4]}{token}", f"e{token}\u0301"]
    out += ["<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nHi there!<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\nHello.<|im_end|>\n",
            "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>What is this?<|im_end|>\n",
            "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n</function>\n</tool_call>",
            "<|<|im_end|>|>", "<|im_end|im_end|>", "<tts_text_bos_single>", "<tts_text_bos_singl", "<tts_text_bos><tts_text_bos_single>", "<think></think>", "< think>", "<|im_end |>"]
    return out


def all_texts(seed=20261123):
    rng = random.Random(seed)
    assigned = [c for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cs", "Cn", "Co")]
    texts = ["", *SENTENCES, *CODE, *EMOJI, *BLANKS, *CONTRACTIONS, *compositions(), *special_texts()]
    texts += [unicodedata.normalize("NFD", s) for s in SENTENCES if unicodedata.normalize("NFD", s) != s]
    texts += ["".join(k) for n in (2, 3) for k in itertools.product(KINDS, repeat=n) if n == 2 or rng.random() < 0.25]
    texts += ["".join(rng.choice(KINDS) for _ in range(rng.randrange(4, 14))) for _ in range(500)]
    texts += [random_text(rng, assigned) for _ in range(900)]
    texts += ["".join(chr(rng.choice(assigned)) for _ in range(rng.randrange(1, 8))) for _ in range(250)]
    texts += ["".join(c for c in (chr(rng.randrange(0x110000)) for _ in range(rng.randrange(1, 6))) if not 0xD800 <= ord(c) < 0xE000)
              for _ in range(200)]
    texts += [" " * n + "x" for n in (1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 63, 127, 129)]
    texts += [c * n for c in ("a", "=", "-", "\n", "\t", "\u0301", "é", "中", "1", "\r\n", "e\u0301", "👍", "ab", "<", "' ")
              for n in (2, 5, 31, 32, 33, 34, 70, 200)]
    return list(dict.fromkeys(texts))
