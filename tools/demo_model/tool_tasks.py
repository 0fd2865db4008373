"""Tool conversations for the demo model: random schemas, requests, calls with typed arguments, results and answers.

A task comes from a hand-written family (tool_families.py) or from a generated verb-noun tool; distractors stand beside
it. `held` chooses wordings (and generated tools) that training never sees.
"""

import json
import zlib

import common_facts
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
GENERIC_HELD = "Kindly {verb} a {noun} that has {args}.|There is a {noun} to {verb}: {args}.|My boss asks you to {verb} the {noun} with {args}.|It is time to {verb} the {noun}. Use {args}."
ROOMS = "kitchen|bedroom|living room|bathroom|office|garage|hall|cellar|attic|nursery|dining room|garden".split("|")
FOODS = "pizza|soup|salads|burgers|sandwiches|noodles|pancakes|tacos|curries|waffles|dumplings|pies|coffees|teas".split("|")
LANGUAGES = "French|German|Spanish|Italian|Dutch|Polish|Greek|Turkish|Swedish|Japanese|Korean|Arabic|Hindi|Finnish|Latin|Danish".split("|")
CODES = "USD EUR GBP JPY CHF SEK NOK DKK PLN CZK CAD AUD NZD INR CNY BRL MXN ZAR TRY KRW".split()
COMMANDS = "ls -l|git status|git pull|make test|python main.py|cat notes.txt|df -h|pwd|echo hello|npm install|cargo build|top|date|whoami|grep -n main app.c|tar xf data.tar|docker ps|make -j4|rm old.log|mkdir build".split("|")
EXTENSIONS = "txt md py json csv c h log html cfg".split()


def person(rng, words):
    """A first name: known ones, and made-up ones so that names are copied and not guessed."""
    pick = rng.random()
    if pick < 0.4:
        return rng.choice(common_facts.NAMES)
    return syllables(rng, rng.choice([1, 2, 2])).capitalize() if pick < 0.7 else rng.choice(words).capitalize()


class ToolTasks:
    def __init__(self, facts):
        self.words = [w for w in facts["common_words"] if len(w) < 10]
        self.cities = facts["cities"]
        self.held_cities = facts["cities"][::37]
        self.common_cities = facts["cities"][:400]
        self.sentences = [s for s in facts["examples"] if '"' not in s and "{" not in s and len(s) < 60]

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
            name = "_".join(rng.sample(self.words, rng.randint(1, 2))).lower()
            if name not in used and name.replace("_", "").isalpha():
                return name

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
        family = family or rng.choice(FAMILIES)
        wording = rng.choice(family["held" if held else "ask"])
        if not held and rng.random() < 0.25:
            wording = self.plain_wording(rng, family)
        keys, params, used = {}, [], set()
        for slot, names, kind, texts, value, needed in family["params"]:
            asked = "{" + slot + "}" in wording
            if not asked and not needed and rng.random() < 0.4:
                continue
            key = rng.choice([n for n in names if n not in used])
            if not held and rng.random() < 0.15:  # a key that only the schema can tell
                key = self.odd_name(rng, used)
            used.add(key)
            keys[slot] = key
            params.append((key, kind, rng.choice(texts) if rng.random() < 0.85 or key not in names else None, needed))
        rng.random() < 0.3 and rng.shuffle(params)
        name = rng.choice(family["names"]) if held or rng.random() < 0.85 else self.odd_name(rng, used)
        task = {"family": family, "keys": keys, "name": name, "schema": self.schema(name, rng.choice(family["texts"]), params), "order": [p[0] for p in params]}
        return self.ask(rng, task, wording, held)

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
        request = wording.format(**texts) if held else self.varied(rng, task["family"], wording, texts)
        return task | {"request": request[:1].upper() + request[1:], "texts": texts, "arguments": arguments}

    @staticmethod
    def varied(rng, family, wording, texts):
        """A training request with small words around values and at its end, so that a value's border is learnt and not its place."""
        around = {"word": ["the word {v}", "the item {v}", "the term {v}", "{v}"], "phrase": ["the text {v}", "the item {v}", "\"{v}\"", "{v}"], "title": ["the title {v}", "\"{v}\""], "city": ["the city of {v}", "{v}"],
                  "code": ["{v} money", "{v}"], "sentence": ["\"{v}\""], "path": ["the file {v}", "\"{v}\""], "name": ["my friend {v}", "{v}"], "date": ["the day {v}", "{v}"]}
        texts = dict(texts)
        for slot, _, _, _, kind, _ in family["params"]:
            if slot in texts and kind in around and rng.random() < 0.12 and '"{' + slot not in wording:
                texts[slot] = rng.choice(around[kind]).format(v=texts[slot])
        request = wording.format(**texts)
        if rng.random() < 0.15 and request[-1] in ".?":
            tail = rng.choice([" now", " today", ", please", " for me", " at once", " if you can", ", thanks", " soon", " this minute", " as we said", " instead", " again", " too"])
            request = request[:-1] + tail + request[-1]
        return request

    def generated(self, rng, held):
        while True:
            verb, noun = rng.choice(VERBS), rng.choice(NOUNS)
            if (zlib.crc32(f"{verb} {noun}".encode()) % 12 == 0) == held:
                break
        name = rng.choice([f"{verb}_{noun}"] * 4 + [f"{noun}_{verb}", f"{verb}{noun.capitalize()}", f"{noun}.{verb}"])
        fields = rng.sample(sorted(FIELDS), rng.randint(1, 4))
        asked = fields if rng.random() < 0.6 else fields[: rng.randint(1, len(fields))]
        params = [(f, FIELDS[f][0], f"The {f.replace('_', ' ')} of the {noun}" if rng.random() < 0.6 else None, f in asked) for f in fields]
        parts, arguments, texts = [], {}, {}
        for f in asked:
            text, value = self.value(rng, FIELDS[f][1], held)
            label = f.replace("_", " ")
            quote = f'"{text}"' if isinstance(value, str) and rng.random() < 0.25 else text
            parts.append(rng.choice([f"{label} {quote}", f"{label} {quote}", f"{label}: {quote}", f"{label} = {quote}", f"the {label} {quote}", f"{label} set to {quote}"]))
            arguments[f], texts[f] = value, text
        order = list(range(len(parts)))
        if rng.random() < 0.4:
            rng.shuffle(order)
        shown = [parts[i] for i in order]
        joined = shown[0] if len(shown) == 1 else ", ".join(shown[:-1]) + rng.choice([" and ", ", "]) + shown[-1]
        wording = rng.choice((GENERIC_HELD if held else GENERIC).split("|"))
        request = wording.format(verb=verb, Verb=verb.capitalize(), noun=noun, args=joined, Args=joined[:1].upper() + joined[1:])
        text = rng.choice([f"{verb.capitalize()} a {noun}", f"Use this to {verb} a {noun}", f"{verb.capitalize()} one {noun} in the system"])
        return {"family": None, "name": name, "schema": self.schema(name, text, params), "request": request, "arguments": arguments, "texts": texts,
                "noun": noun, "order": fields}

    def task(self, rng, held=False):
        return self.generated(rng, held) if rng.random() < 0.35 else self.from_family(rng, held)

    def distractors(self, rng, count, taken, family):
        tools = []
        while len(tools) < count:
            if rng.random() < 0.3:
                other = self.generated(rng, False)
            else:
                pick = rng.choice(FAMILIES)
                if pick is family:
                    continue
                other = self.from_family(rng, False, pick)
            if other["name"] not in taken:
                taken.add(other["name"])
                tools.append(other["schema"])
        return tools

    def with_tools(self, rng, task, most=3):
        tools = [task["schema"]] + self.distractors(rng, rng.choices(range(most + 1), [35, 30, 20, 15][: most + 1])[0], {task["name"]}, task["family"])
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
