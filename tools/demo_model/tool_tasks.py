"""Tool conversations for the demo model: random schemas, requests, calls with typed arguments, results and answers.

A task comes from a hand-written family (tool_families.py) or from a generated verb-noun tool; distractors stand beside
it. `held` chooses wordings (and generated tools) that training never sees.
"""

import json
import zlib

import common_facts
from more_tools import MORE_FAMILIES
from natural_tasks import natural
from open_values import OpenValues
from request_frames import AROUND, GRAMMARS, IMPERATIVE, capital, compose
from tool_families import FAMILIES
from unknowns import syllables

VERBS = """create update delete send start stop open close find list rent buy sell print assign cancel archive copy move rename export
import approve reject share lock unlock merge restart check count publish record register release renew repair reserve review ship
sort submit upload validate verify water clean paint pack measure""".split()
NOUNS = """ticket invoice room order customer report project document folder account device server backup image video contract meeting
parcel vehicle recipe lesson course player match plant machine sensor garden table poem booking member product review poll survey
channel playlist ticket license badge key locker shelf ferry tractor""".split()
FIELDS = {"title": ("string", "title"), "name": ("string", "word"), "owner": ("string", "name"), "priority": ("enum:low,medium,high", "enum:low,medium,high"),
          "count": ("integer", "int:1:99"), "due_date": ("string", "date"), "price": ("number", "amount"), "color": ("enum:red,green,blue,black,white", "enum:red,green,blue,black,white"),
          "size": ("enum:small,medium,large", "enum:small,medium,large"), "notes": ("string", "phrase"), "public": ("boolean", "truth"),
          "tags": ("array", "words"), "city": ("string", "city"), "id": ("integer", "int:1:9999"), "code": ("string", "tracking"),
          "email": ("string", "email"), "weight": ("number", "amount"), "urgent": ("boolean", "truth"), "start_time": ("string", "clock"),
          "language": ("string", "language"), "level": ("integer", "int:1:10"), "reason": ("string", "phrase"), "path": ("string", "path"),
          "assignee": ("string", "name"), "discount": ("number", "amount"), "room": ("string", "room"), "active": ("boolean", "truth")}
GENERIC = "{Verb} the {noun} with {args}.|Please {verb} a {noun}: {args}.|{Verb} a {noun} with {args}.|I want to {verb} a {noun} with {args}.|{Verb} {noun}, {args}.|Can you {verb} the {noun}? {Args}.|{Verb} a new {noun}. {Args}.|We need to {verb} a {noun} with {args}.|Could you {verb} the {noun} with {args}?"
GENERIC += "|Please do this: {verb} the {noun} with {args}.|There is one {noun} that I want to {verb}: {args}.|It is time: {verb} the {noun}, {args}.|They ask you to {verb} a {noun} with {args}.|Use {args} and {verb} the {noun}.|The {noun} is to {verb}. {Args}.|You should {verb} the {noun}. Take {args}.|Could someone {verb} a {noun} that has {args}?"
GENERIC += "|Go and {verb} a {noun}: {args}.|I need you to {verb} the {noun}, {args}.|{Args}: {verb} a {noun} like that.|With {args}, {verb} one {noun}.|Let us {verb} the {noun} that has {args}.|Someone has to {verb} a {noun}. {Args}."
JOINERS = " with {a}| with {a}|: {a}|, {a}| that has {a}| using {a}| ({a})| where {a}|. {A}| and use {a}| and set {a}| - {a}| having {a}|; {a}| given {a}|. The details: {a}| so that it has {a}| by means of {a}|, namely {a}| like this: {a}".split("|")
FIELD_FORMS = "{l} {v}|{l} {v}|{l}: {v}|{l} = {v}|the {l} {v}|{l} set to {v}|{l} is {v}|{v} as {l}|{v} as the {l}|{l}={v}|a {l} of {v}|the {l} is {v}|{v} for the {l}|{l} -> {v}|{l} being {v}|its {l} {v}|{l} ({v})|the {l} should be {v}|{L}: {v}|{l} equal to {v}".split("|")
GENERIC_HELD = "Kindly {verb} a {noun} that has {args}.|There is a {noun} to {verb}: {args}.|My boss asks you to {verb} the {noun} with {args}.|It is time to {verb} the {noun}. Use {args}."
MORE_VERBS = """add assess attach bill book browse bundle calculate call charge collect compare compress configure confirm connect convert deploy describe disable
discard download draw edit enable encrypt estimate evaluate extend extract fetch file fix flag forward freeze generate grant hide hire import inspect install invite label launch link load log mail map mark mount
notify order outline pause pay pin plan play post prepare preview promote protect query rate read recover refund refresh reload remind remove reopen replace report request reset resize restore resume retry
save scan schedule search set show sign split store subscribe summarize swap sync tag test track train transfer translate trim undo unpack untag update upgrade view vote warn weigh wrap write zip""".split()
MORE_NOUNS = """account agreement alarm album alert app article asset auction audio bag battery bed bicycle bill board boat book bottle box branch bridge bus cabin cable calendar camera campaign candidate canvas car card cart
cat certificate chair chapter chart chat class client clock cluster coat comment company container contact coupon database deal debt delivery design desk dish dog domain donation door draft drawing driver drone email employee
engine episode event exam expense farm feature fee feed field file filter flag flight flower form forum fund game gift goal grant grid group guest guide hall hat helmet holiday horse hotel icon idea image index issue item job
journal kit label lamp layer lead leaf lease letter library line link list loan log lot map medal meal memo menu message meter model module monitor movie museum network note notice office offer outlet package page painting
panel paper partner patch path payment pet phone photo pipe plan plate port poster price printer prize process profile program prompt puzzle query queue quiz quote rack receipt region reminder request reservation resource
result ride ring road robot roof route row rule sample scene scheme school score script seat section service session setting shift ship shirt shoe shop show sign site slot song stage station stock store story street
student subscription suit table tag talk tank task team template tent test text theme thread token tool topic tour toy track trade train trip truck tunnel upload user vaccine video view visit voice wall warehouse watch webhook
wheel widget window wine workflow workshop zone""".split()
ROOMS = "kitchen|bedroom|living room|bathroom|office|garage|hall|cellar|attic|nursery|dining room|garden".split("|")
FOODS = "pizza|soup|salads|burgers|sandwiches|noodles|pancakes|tacos|curries|waffles|dumplings|pies|coffees|teas".split("|")
LANGUAGES = "French|German|Spanish|Italian|Dutch|Polish|Greek|Turkish|Swedish|Japanese|Korean|Arabic|Hindi|Finnish|Latin|Danish".split("|")
CODES = "USD EUR GBP JPY CHF SEK NOK DKK PLN CZK CAD AUD NZD INR CNY BRL MXN ZAR TRY KRW".split()
# Kinds of value that are known by their look, wherever they stand: (schema type, names, kind, quoted)
TYPED = [("string", "path|file|target|location|document|input", "path", False), ("string", "email|to|recipient|address|contact", "email", False), ("string", "date|day|on|due|when", "date", False),
         ("string", "time|at|start|hour|begin", "clock", False), ("string", "code|id|number|key|serial", "tracking", False), ("string", "url|link|page|source", "url", False),
         ("string", "text|content|message|body|title|note|comment|caption|label|query", "phrase", True), ("string", "text|content|message|body|data|line|value|description", "sentence", True), ("number", "amount|price|value|total|limit", "amount", False)]
COMMANDS = "ls -l|git status|git pull|make test|python main.py|cat notes.txt|df -h|pwd|echo hello|npm install|cargo build|top|date|whoami|grep -n main app.c|tar xf data.tar|docker ps|make -j4|rm old.log|mkdir build".split("|")
EXTENSIONS = "txt md py json csv c h log html cfg".split()


def person(rng, words):
    """A first name: known ones, and made-up ones so that names are copied and not guessed."""
    pick = rng.random()
    if pick < 0.4:
        return rng.choice(common_facts.NAMES)
    return syllables(rng, rng.choice([1, 2, 2])).capitalize() if pick < 0.7 else rng.choice(words).capitalize()


def bare(wording):
    """A wording without case, marks and blanks: what two wordings are compared by."""
    return "".join(c for c in wording.lower() if c.isalnum() or c in "{}")


LOWER = ("city", "word", "phrase", "title", "sentence", "name", "room", "food", "date", "clock", "int:1:90", "int:1:14", "int:1:9", "int:1:20", "int:5:100", "unit", "path", "email", "enum:low,medium,high")


class ToolTasks:
    def __init__(self, facts):
        self.words = [w for w in facts["common_words"] if len(w) < 10]
        self.cities = facts["cities"]
        self.held_cities = facts["cities"][::37]
        self.common_cities = facts["cities"][:400]
        self.sentences = [s for s in facts["examples"] if '"' not in s and "{" not in s and len(s) < 60]
        rare = [w for w in facts["common_words"] + facts["unknown_words"] if len(w) > 3 and "{" not in w]
        self.open_values = OpenValues(self.words, rare, self.cities, self.sentences)

    # -- values: (text in the request, argument value)
    def value(self, rng, kind, held):
        name, _, rest = kind.partition(":")
        words = lambda low, high: " ".join(rng.sample(self.words, rng.randint(low, high)))
        if name == "int":
            low, high = map(int, rest.split(":"))
            number = rng.randint(low, high)
            return str(number), number
        if name == "bool":
            yes, no = rest.split(":")
            return (yes, True) if rng.random() < 0.5 else (no, False)
        if name == "truth":
            return ("true", True) if rng.random() < 0.5 else ("false", False)
        if name in ("enum", "of"):
            text = rng.choice(rest.split(","))
            return text, text
        if name == "words":
            items = rng.sample(self.words, rng.randint(1, 3))
            return (" and ".join(items) if len(items) < 3 else f"{items[0]}, {items[1]} and {items[2]}"), items
        if name == "amount":
            number = rng.choice([rng.randint(1, 999), rng.randint(1, 99), rng.randint(1, 9999) / 100, rng.randint(1, 99) * 100])
            number = int(number) if number == int(number) else number
            return str(number), number
        if name == "degrees":
            number = rng.choice([rng.randint(14, 27), rng.randint(28, 54) / 2])
            number = int(number) if number == int(number) else number
            return str(number), number
        if not held and rng.random() < (0.4 if name not in ("slug", "url") else 1.0):
            text = self.open_values.value(rng, name)
            if text is not None:
                return text, text
        a, b = rng.randint(1, 12), rng.randint(1, 28)
        names = common_facts.HELD_NAMES if held else (person(rng, self.words),)
        text = {
            "city": lambda: rng.choice((self.held_cities if held else self.cities) if rng.random() < 0.6 else self.common_cities),
            "unit": lambda: rng.choice(["celsius", "fahrenheit"]),
            "word": lambda: rng.choice(self.words), "phrase": lambda: words(1, 3),
            "title": lambda: " ".join(w.capitalize() for w in rng.sample(self.words, rng.randint(1, 3))),
            "sentence": lambda: rng.choice(self.sentences), "name": lambda: rng.choice(names),
            "email": lambda: f"{rng.choice(names).lower()}@{rng.choice(self.words)}.{rng.choice(['com', 'org', 'net', 'de'])}",
            "clock": lambda: f"{rng.randint(0, 23):02d}:{rng.choice([0, 15, 30, 45, rng.randint(0, 59)]):02d}",
            "date": lambda: f"20{rng.randint(26, 31)}-{a:02d}-{b:02d}", "language": lambda: rng.choice(LANGUAGES),
            "code": lambda: rng.choice(CODES), "room": lambda: rng.choice(ROOMS), "food": lambda: rng.choice(FOODS),
            "ticker": lambda: "".join(rng.choice("ABCDEFGHIKLMNOPRSTUVX") for _ in range(rng.randint(2, 4))),
            "expression": lambda: f"{rng.randint(10, 9999)} {rng.choice('+-*/')} {rng.randint(10, 999)}",
            "path": lambda: f"{rng.choice(['', rng.choice(self.words) + '/'])}{rng.choice(self.words)}.{rng.choice(EXTENSIONS)}",
            "command": lambda: rng.choice(COMMANDS), "flight": lambda: f"{rng.choice('ABKLQSU')}{rng.choice('AFHLRX')}{rng.randint(100, 999)}",
            "tracking": lambda: f"{rng.choice('ABCDEFGHKLMNPRSTX')}{rng.choice('ABCDEFGHKLMNPRSTX')}{rng.randint(1000, 99999)}",
        }[name]()
        return text, text

    def odd_name(self, rng, used):
        while True:
            parts = [w.lower() for w in rng.sample(self.words, rng.randint(1, 2))]
            if rng.random() < 0.2:
                parts[0] = self.open_values.pieces(rng).lower()
            name = "_".join(parts) if rng.random() < 0.8 else parts[0] + "".join(p.capitalize() for p in parts[1:])
            if name not in used and name.replace("_", "").isascii() and name.replace("_", "").isalpha():
                return name

    def other_name(self, rng, name):
        """A name like the usual one: cut, lengthened or in another style, so that names are copied and not recalled."""
        parts = name.split("_")
        pick = rng.random()
        if pick < 0.3 and len(parts) > 1:
            parts.pop(rng.randrange(len(parts)))
        elif pick < 0.75:
            extra = rng.choice(["the", "my", "do", "new", "app", "user", "main", "value", "name", "tool", "item", "api", "v2", "input", "now", "one", "target", "my", "data", "info", "string", "handle", rng.choice(self.words).lower()])
            parts.insert(rng.choice([0, len(parts)]), extra)
        elif pick < 0.85:
            parts[rng.randrange(len(parts))] = rng.choice(self.words).lower()
        if rng.random() < 0.3:
            return parts[0] + "".join(capital(p) for p in parts[1:])
        return rng.choice(["_", "_", "_", "_", "-"]).join(parts)

    # -- schemas
    @staticmethod
    def schema(name, text, params):
        properties, required = {}, []
        for key, kind, description, needed in params:
            entry = {"type": kind}
            if kind.startswith("enum:"):
                entry = {"type": "string", "enum": kind[5:].split(",")}
            if kind == "array":
                entry["items"] = {"type": "string"}
            if description:
                entry["description"] = description
            properties[key] = entry
            if needed:
                required.append(key)
        function = {"name": name, "description": text, "parameters": {"type": "object", "properties": properties, "required": required}}
        return {"type": "function", "function": function}

    def from_family(self, rng, held, family=None):
        family = family or rng.choice(FAMILIES if held or rng.random() < 0.65 else MORE_FAMILIES)
        wording = rng.choice(family["held"]) if held else self.wording(rng, family)
        keys, params, used = {}, [], set()
        for slot, names, kind, texts, value, needed in family["params"]:
            asked = "{" + slot + "}" in wording
            if not asked and not needed and rng.random() < 0.4:
                continue
            key = rng.choice([n for n in names if n not in used])
            if not held and rng.random() < 0.4:  # a key that only the schema can tell
                key = self.other_name(rng, key) if rng.random() < 0.45 else self.odd_name(rng, used)
                if key in used:
                    key = self.odd_name(rng, used)
            used.add(key)
            keys[slot] = key
            params.append((key, kind, rng.choice(texts) if rng.random() < 0.85 or key not in names else None, needed))
        if not held and rng.random() < 0.2:  # something optional that nobody mentions
            kind = FIELDS[rng.choice(sorted(FIELDS))][0]
            params.append((self.odd_name(rng, used), kind, None if rng.random() < 0.5 else "Not needed", False))
        rng.random() < 0.3 and rng.shuffle(params)
        name = rng.choice(family["names"])
        if not held and rng.random() < 0.5:
            name = self.other_name(rng, name) if rng.random() < 0.7 else self.odd_name(rng, used)
        task = {"family": family, "keys": keys, "name": name, "schema": self.schema(name, rng.choice(family["texts"]), params), "order": [p[0] for p in params]}
        return self.ask(rng, task, wording, held)

    def wording(self, rng, family):
        """A training wording: hand-written, from the grammar, or plain labels; never one that the evaluation holds out."""
        rules = family.get("rules") or GRAMMARS[family["names"][0]]
        held = {bare(text) for text in family["held"]}
        while True:
            pick = rng.random()
            if pick < 0.5 or (pick < 0.8 and "rules" in family):
                names = common_facts.NAMES if rng.random() < 0.5 else [self.open_values.name(rng)]
                text = compose(rng, rules, family["params"], names)
            elif pick < 0.8:
                text = rng.choice(family["ask"])
            else:
                text = self.plain_wording(rng, family)
            if bare(text) not in held:
                return text

    @staticmethod
    def plain_wording(rng, family):
        """What the tool does and the values with their labels, in any order: no family's own phrase helps to find them."""
        said = [t for t in family["texts"] if t.split()[0] not in ("Returns", "Current", "Tells")]
        text = rng.choice(said or ["Use the right tool"])
        params = [p for p in family["params"] if p[5] or rng.random() < 0.5]
        rng.shuffle(params)
        parts = []
        for slot, names, _, _, _, _ in params:
            label = rng.choice(names).replace("_", " ")
            value = "{" + slot + "}" if rng.random() < 0.75 else '"{' + slot + '}"'
            form = rng.choice(["{l} {v}", "{l}: {v}", "{l} = {v}", "{v} as {l}", "{v} is the {l}", "the {l} is {v}", "the {l} {v}", "{v} for the {l}", "use {v} as the {l}", "with the {l} {v}"])
            parts.append(form.format(l=label, v=value))
        listed = parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + rng.choice([" and ", ", ", "; "]) + parts[-1]
        frame = rng.choice("{T}: {a}.|Please {t}: {a}.|{T}, {a}.|{a}. {T}.|I want you to {t}. {A}.|Can you {t}? {A}.|{T} for me ({a}).|Given {a}, {t}.|Take {a} and {t}.|You should {t}, {a}.|With {a}: {t}.".split("|"))
        return frame.format(T=text, t=text[0].lower() + text[1:], a=listed, A=listed[:1].upper() + listed[1:])

    def ask(self, rng, task, wording, held):
        """Fill one request to the task's tool."""
        texts, arguments, by_key = {}, {}, {}
        for slot, _, _, _, kind, _ in task["family"]["params"]:
            if "{" + slot + "}" in wording:
                text, value = self.value(rng, kind, held)
                texts[slot] = text
                by_key[task["keys"][slot]] = value
        arguments = {key: by_key[key] for key in task["order"] if key in by_key}
        kinds = {p[0]: p[4] for p in task["family"]["params"]}
        if held:
            request = capital(wording.format(**texts))
        elif rng.random() < 0.05 and all(kinds[slot] in LOWER for slot in texts):  # typed without any capital
            texts = {slot: text.lower() for slot, text in texts.items()}
            arguments = {key: v.lower() if isinstance(v, str) else v for key, v in arguments.items()}
            request = self.varied(rng, task["family"], wording, texts).lower()
        else:
            request = self.varied(rng, task["family"], wording, texts)
            begins_with_value = wording.startswith("{") and wording[1:wording.index("}")] in texts
            if not begins_with_value or next(p for p in task["family"]["params"] if p[0] == wording[1:wording.index("}")])[4] in ("room", "food"):
                request = capital(request) if rng.random() < 0.9 else request
        return task | {"request": request, "wording": wording, "texts": texts, "arguments": arguments}

    @staticmethod
    def varied(rng, family, wording, texts):
        """A training request with small words around values, so that a value's border is learnt and not its place."""
        shown = dict(texts)
        for slot, _, _, _, kind, _ in family["params"]:
            mark = "{" + slot + "}"
            if slot not in texts or kind not in AROUND or rng.random() > 0.15 or any(q + mark in wording for q in ('"', "`", "(")):
                continue
            around = rng.choice(AROUND[kind])
            if "'{v}'" not in around or "'" not in texts[slot]:
                shown[slot] = around.format(v=texts[slot])
        request = wording.format(**shown)
        for text in texts.values():  # a text that ends its sentence needs no second full stop
            if text[-1:] in ".!?" and request.endswith(text + "."):
                request = request[:-1]
        return request

    def verb_and_noun(self, rng, held):
        if held or rng.random() < 0.5:
            while True:
                verb, noun = rng.choice(VERBS), rng.choice(NOUNS)
                if (zlib.crc32(f"{verb} {noun}".encode()) % 12 == 0) == held:
                    return verb, noun
        verb = rng.choice(VERBS + MORE_VERBS)
        noun = rng.choice(MORE_NOUNS) if rng.random() < 0.85 else rng.choice(self.words).lower()
        return (verb, noun) if noun not in NOUNS and noun.isalpha() and noun.isascii() else self.verb_and_noun(rng, held)

    @staticmethod
    def function_name(rng, verb, noun):
        return rng.choice([f"{verb}_{noun}"] * 4 + [f"{noun}_{verb}", f"{verb}{noun.capitalize()}", f"{noun}.{verb}"])

    def generated(self, rng, held, pair=None):
        verb, noun = pair or self.verb_and_noun(rng, held)
        name = self.function_name(rng, verb, noun)
        fields = rng.sample(sorted(FIELDS), rng.randint(1, 4))
        asked = fields if rng.random() < 0.6 else fields[: rng.randint(1, len(fields))]
        params = [(f, FIELDS[f][0], f"The {f.replace('_', ' ')} of the {noun}" if rng.random() < 0.6 else None, f in asked) for f in fields]
        forms = ["{l} {v}", "{l} {v}", "{l}: {v}", "{l} = {v}", "the {l} {v}", "{l} set to {v}"] if held or rng.random() < 0.5 else FIELD_FORMS
        parts, arguments, texts = [], {}, {}
        for f in asked:
            text, value = self.value(rng, FIELDS[f][1], held)
            label = f.replace("_", " ")
            quote = f'"{text}"' if isinstance(value, str) and rng.random() < 0.25 else text
            form = rng.choice(forms)
            parts.append((form.format(l=label, v=quote, L=label.capitalize()), form.startswith("{v}")))
            arguments[f], texts[f] = value, text
        order = list(range(len(parts)))
        if rng.random() < 0.4:
            rng.shuffle(order)
        shown = [parts[i] for i in order]
        listed, begins_with_value = [text for text, _ in shown], shown[0][1]
        joined = listed[0] if len(listed) == 1 else ", ".join(listed[:-1]) + rng.choice([" and ", ", "]) + listed[-1]
        if held or rng.random() < 0.4:
            wording = rng.choice((GENERIC_HELD if held else GENERIC).split("|"))
        else:  # a polite wrapper around verb, noun and fields
            core = f"{verb} {rng.choice(['the', 'a', 'this', 'one', 'my', 'our', 'that', 'another'])} {noun}" + rng.choice(JOINERS).replace("{a}", "{args}").replace("{A}", "{Args}")
            wrap = rng.choice(IMPERATIVE) if ". " not in core else rng.choice(["{C}.", "Please {c}.", "Now {c}.", "I want you to {c}."])
            wording = wrap.replace("{c}", core).replace("{C}", capital(core)).replace("{n}", rng.choice(common_facts.NAMES))
        request = wording.format(verb=verb, Verb=verb.capitalize(), noun=noun, args=joined, Args=joined if begins_with_value else capital(joined))
        text = rng.choice([f"{verb.capitalize()} a {noun}", f"Use this to {verb} a {noun}", f"{verb.capitalize()} one {noun} in the system"])
        return {"family": None, "name": name, "schema": self.schema(name, text, params), "request": request, "arguments": arguments, "texts": texts,
                "noun": noun, "verb": verb, "order": fields, "wording": wording}

    def scattered(self, rng):
        """A tool whose arguments are known by their look (paths, addresses, dates, quoted texts ...), in a request where any words
        stand around them: no phrase tells where a value begins."""
        verb, noun = self.verb_and_noun(rng, False)
        kinds = rng.sample(TYPED, rng.randint(1, 3))
        if sum(k[3] for k in kinds) > 1:
            kinds = [k for k in kinds if not k[3]] + [next(k for k in kinds if k[3])]
        params, arguments, texts, shown, used = [], {}, {}, [], set()
        for kind, names, value, quoted in kinds:
            key = rng.choice([n for n in names.split("|") if n not in used]) if rng.random() < 0.7 else self.odd_name(rng, used)
            used.add(key)
            text, argument = self.value(rng, value, False)
            about = {"path": "A file", "email": "An address", "date": "A day", "clock": "A time", "tracking": "A code", "url": "A link", "phrase": "A text", "sentence": "A text", "amount": "A number"}[value]
            params.append((key, kind, about if key not in names.split("|") or rng.random() < 0.5 else None, True))
            arguments[key], texts[key] = argument, text
            shown.append(rng.choice(['"{v}"', '"{v}"', '"{v}"', "\u201c{v}\u201d", "`{v}`"]).format(v=text) if quoted else text if rng.random() < 0.85 else f'"{text}"')
        order = list(range(len(params)))
        rng.shuffle(order)
        arguments = {params[i][0]: arguments[params[i][0]] for i in order}
        piece = lambda: " ".join(w for w in rng.choice(self.sentences).split(" ")[: rng.randint(1, 4)] if w.isalpha())
        rng.shuffle(shown)
        said = f"{verb} {rng.choice(['the', 'a', 'my', 'this'])} {noun}"
        parts = []
        for text in shown:
            if rng.random() < 0.7:
                parts.append(piece() if rng.random() < 0.6 else rng.choice("with to in for at from as by on about and into under of is must should goes near after behind has".split()))
            parts.append(text)
        if rng.random() < 0.35:
            parts.append(piece())
        parts.insert(rng.randrange(len(parts) + 1) if rng.random() < 0.4 else 0, said)
        request = " ".join(p for p in parts if p) + rng.choice([".", ".", "", "!", "?"])
        name = self.function_name(rng, verb, noun) if rng.random() < 0.8 else self.odd_name(rng, set())
        schema = self.schema(name, f"{capital(verb)} a {noun}", [params[i] for i in order])
        return {"family": None, "name": name, "schema": schema, "request": capital(request) if parts[0] not in shown else request, "arguments": arguments, "texts": texts,
                "noun": noun, "verb": verb, "order": list(arguments)}

    def task(self, rng, held=False):
        pick = 1.0 if held else rng.random()
        if pick < 0.3:
            return self.scattered(rng) if pick < 0.1 else natural(self, rng)
        return self.generated(rng, held) if rng.random() < 0.35 else self.from_family(rng, held)

    def distractors(self, rng, count, taken, family):
        tools = []
        while len(tools) < count:
            if rng.random() < 0.3:
                other = self.generated(rng, False)
            else:
                pick = rng.choice(FAMILIES if rng.random() < 0.75 else MORE_FAMILIES)
                if pick is family:
                    continue
                other = self.from_family(rng, False, pick)
            if other["name"] not in taken:
                taken.add(other["name"])
                tools.append(other["schema"])
        return tools

    def neighbour(self, rng, task):
        """A tool of the same noun or the same verb, to be told from the right one by its whole name; None if they would be one."""
        verb, noun = self.verb_and_noun(rng, False)
        pair = (verb, task["noun"]) if rng.random() < 0.6 else (task["verb"], noun)
        return self.generated(rng, False, pair)["schema"] if pair != (task["verb"], task["noun"]) else None

    def with_tools(self, rng, task, most=3, near=False):
        close = self.neighbour(rng, task) if near and task["family"] is None and task["noun"] in task["request"].lower() and task["verb"] in task["request"].lower() and rng.random() < 0.4 else None
        if close and close["function"]["name"] == task["name"]:
            close = None
        tools = [task["schema"]] + ([close] if close else []) + self.distractors(rng, rng.choices(range(most + 1), [35, 30, 20, 15][: most + 1])[0], {task["name"]} | ({close["function"]["name"]} if close else set()), task["family"])
        rng.shuffle(tools)
        return tools

    def result(self, rng, task):
        """(tool message text, spoken answer)"""
        if rng.random() < 0.08:
            error = rng.choice(["not found", "no permission", "time limit", "bad request", "service not available", "unknown id"])
            return json.dumps({"error": error}), f"That did not work: {error}."
        if task["family"] is None:
            number = rng.randint(1, 9999)
            return json.dumps({"status": "ok", "id": number}), f"Done. The {task['noun']} has the id {number}."
        values = {key: self.value(rng, kind, False)[1] for key, kind in task["family"]["result"].items()}
        pairs = list(values.items())
        rng.shuffle(pairs)
        say = task["family"]["say"].format(**(task["texts"] | {k: str(v) for k, v in values.items()}))
        return json.dumps(dict(pairs), ensure_ascii=False), say[:1].upper() + say[1:]

    @staticmethod
    def thought(task):
        listed = ", ".join(f"{k} = {v if isinstance(v, str) else json.dumps(v)}" for k, v in task["arguments"].items())
        return f"I call {task['name']} with {listed}." if listed else f"I call {task['name']}."
