"""Questions the demo model cannot answer, and its honest answer: invented places, elements and words, private matters, the
future, and things it was never taught about subjects it does know.

Training makes names from syllables, from pieces of real names and from words out of place; the evaluation's invented names
(HELD_* lists) and wordings never occur in training.
"""

import relations

ONSETS = "b br c ch cr d dr f fl g gr h j k kl kr l m n p pr qu r s sh sk st t tr th v w y z zh".split()
VOWELS = "a e i o u ai au ea ee ia io oo ou ue".split()
CODAS = " n r l m s t k x nd rk st lm th sh ng".split(" ")
COUNTRY_ENDS = "ia land stan a o istan onia ria any ador ora ea ium quay iland is una esia avia mark burg".split()
ELEMENT_ENDS = "ium ium ium ine on ogen um ite ese ane yl".split()
CITY_ENDS = "ville ton burg grad polis a o stad ford haven mouth dorf ham port field".split()

HELD_COUNTRIES = """Narnia Wakanda Gondor Mordor Genovia Latveria Ruritania Elbonia Zubrowka Freedonia Lilliput Brobdingnag Laputa
Syldavia Borduria Krakozhia Rohan Panem Westeros Essos Atlantis Utopia Oz Neverland Lemuria Shangri-La Avalon Camelot Sokovia
Zamunda Aldovia Vespuccia Grand-Fenwick Molvania Phaic-Tan Glubbdubdrib Sodor Tamriel Azeroth Hyrule Markovia Qurac Orsinia
Graustark Petoria Wadiya Eriador Redania Nilfgaard Temeria Cintra Valyria Dorne Kanto""".split()
HELD_ELEMENTS = """unobtainium adamantium vibranium mithril kryptonite dilithium octiron orichalcum carbonadium tiberium naquadah
elerium eternium duranium tritanium corbomite feminum jerktonium upsidaisium cavorite beryllosite phlebotinum saronite eitr
rearden frinkonium administratium bombastium thiotimoline wishalloy quadium illudium trellium uridium neutronium""".split()
HELD_CITIES = """Gotham Metropolis Springfieldia Minas Tirith Rivendell Hogsmeade Bedrock Sunnydale Smallville Emberdale Tatooine
Winterfell Ankh-Morpork Lankhmar Zion Rapture Silent-Vale Riverdale Kings-Landing Arkham Coruscant Bikini-Bottom Quahog""".split()

PRIVATE = """What did I eat {when}?|What did I do {when}?|What is my {thing}?|What's my {thing}?|Tell me my {thing}.|Do you know my {thing}?
Where did I put my {object}?|Where is my {object}?|How old is my {relative}?|What is the name of my {relative}?|Where does my {relative} live?
What is my {relative}'s {thing}?|Where was I {when}?|Who called me {when}?|What am I thinking of?|What am I wearing?|Where am I?
How much money do I have?|How tall am I?|How old am I?|What colour is my {object}?|Who did I meet {when}?|When is my {relative}'s birthday?
What did my {relative} say {when}?|What does my {relative} want for dinner?|Guess my {thing}.|How many {object}s do I own?|Where do I live?
Can you remember my {thing}?|What is in my {object}?|What did I dream {when}?|Which film did I watch {when}?|Who is my {relative}?
When did I buy my {object}?|What is written in my {object}?|Where do I work?|Who am I?"""
HELD_PRIVATE = """Which {thing} did I choose?|What present did my {relative} buy?|How much did I pay for my {object}?|What was I singing {when}?
What does my {relative} look like?|Do you recall where my {object} is?|What is the surname of my {relative}?|Which shop sold me my {object}?
At what time did I get up {when}?|Tell me what my {relative} did {when}.|What is hidden under my {object}?"""
FUTURE = """Who will win the {event} in {year}?|What will happen in {year}?|Who will be president in {year}?|Will it rain {later}?
What will the weather be {later}?|Which team will win the {event}?|What will I do {later}?|When will the world end?|Will I be rich?
What will {goods} cost {later}?|What are the lottery numbers for {later}?|Who will win {later}?|What will be in the news {later}?
How many people will live on Earth in {year}?|When will the next {disaster} be?|What will be invented in {year}?|Will there be a {disaster} {later}?
Which song will be number one in {year}?|What will the price of {goods} be in {year}?|What does the future hold?|Will my team win {later}?
Who is going to win the {event} {later}?|What time is it?|What is today's date?|What day is it today?|How is the weather?|What is the weather like right now?
What is the price of {goods} today?|What is in the news today?|Who won the {event} {when}?|What happened in the world {when}?|Is it raining now?"""
HELD_FUTURE = """Predict the winner of the {event} in {year}.|How warm will it be {later}?|Can you foresee a {disaster} in {year}?
Which party will govern in {year}?|How much will {goods} be worth {later}?|Will {goods} be cheaper in {year}?|Who becomes champion at the next {event}?
What headlines will I read {later}?|On which date will the next {disaster} strike?|Which numbers will the lottery draw {later}?"""
TRIVIA = """Who wrote {title}?|Who painted {title}?|When was {title} published?|Who directed {title}?|What happens at the end of {title}?|Who sang {title}?
When was {person} born?|Where was {person} born?|Who is {person}?|What is {person} famous for?|When did {person} die?|Who was {person}'s father?
Where does {person} work?|How old is {person}?|What is {person}'s phone number?|Where is {person} now?|What did {person} say {when}?
How tall is the {building} in {city}?|Who is the mayor of {city}?|How many people live in {city}?|When was {city} founded?|What is the population of {city}?
What is the best restaurant in {city}?|How far is it from {city} to {city2}?|Who built the {building} of {city}?|What is the weather in {city}?
Which bus goes to the {building} in {city}?|When does the {building} in {city} open?|What is the telephone number of the {building} in {city}?
Who invented the {word}?|When was the {word} invented?|How much does a {word} cost?|How do I repair a {word}?|Where can I buy a {word}?|How heavy is a {word}?
Who won the {event} in {past}?|What happened in {past}?|Who was the king in {past}?|When did the war of {past} end?|How many {word}s were sold in {past}?"""
HELD_TRIVIA = """Which author is behind {title}?|In which year did {title} come out?|Who plays the main role in {title}?|What was {person}'s first job?
To whom is {person} married?|In which street of {city} is the {building}?|How many floors does the {building} in {city} have?
Which river runs through {city}?|What made {person} rich?|Who owns the {building} in {city}?|How long does it take to make a {word}?|Which company makes the best {word}?
Who came second in the {event} of {past}?|What did people eat in {past}?"""
ATTRIBUTES = {"country": "the population|the president|the national anthem|the area|the king|the prime minister|the oldest city|the biggest company|the national bird|the best football player|the average wage|the number of inhabitants|the history|the flag|the climate|the national dish|the size|the GDP",
              "element": "the melting point|the price|the density|the discoverer|the boiling point|the colour|the atomic weight|the smell|the use|the year of discovery|the hardness",
              "city": "the mayor|the population|the oldest street|the airport|the founder|the best hotel|the tallest building"}
HELD_ATTRIBUTES = {"country": "the highest mountain|the longest river|the minister of finance|the most famous painter|the crime rate|the national flower",
                   "element": "the taste|the largest producer|the electrical resistance|the number of isotopes",
                   "city": "the patron saint|the number of bridges|the most expensive street"}
SLOTS = {"when": "yesterday|last night|last week|this morning|on Monday|two days ago|last summer|an hour ago|last year".split("|"),
         "later": "tomorrow|next week|next year|next month|in ten years|on Sunday|in a hundred years|tonight|next summer".split("|"),
         "thing": "password|phone number|favourite colour|favourite food|birthday|address|name|bank account|middle name|shoe size|email address|job|secret|favourite song|age".split("|"),
         "object": "key|phone|book|car|bag|wallet|umbrella|laptop|bicycle|coat|letter|diary|cup|hat|box".split("|"),
         "relative": "sister|brother|mother|father|dog|cat|uncle|aunt|boss|neighbour|friend|teacher|wife|husband|son|daughter".split("|"),
         "event": "election|world cup|championship|race|tournament|final|match|cup|marathon|chess match|game".split("|"),
         "goods": "gold|oil|bread|milk|a house|a car|the dollar|coffee|a ticket|petrol|stocks|the euro".split("|"),
         "disaster": "earthquake|storm|war|crisis|flood|eclipse|pandemic|strike|fire".split("|"),
         "building": "tower|bridge|museum|library|castle|station|theatre|town hall|school|hotel|bank|church|market|park".split("|")}


def invented(rng, kind, facts):
    """A name of this kind that nobody taught the model."""
    if kind == "atomic number":
        return str(rng.choice([0] + list(range(119, 400)) + list(range(400, 2000, 7))))
    if kind == "symbol":
        known = {e["symbol"] for e in facts["elements"]}
        while True:
            symbol = rng.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") + rng.choice(["", *"abcdefghijklmnopqrstuvwxyz"])
            if symbol not in known:
                return symbol
    if kind == "word" or rng.random() < 0.12:
        word = rng.choice(facts["unknown_words"][600:]) if rng.random() < 0.6 else syllables(rng, 2 + (rng.random() < 0.4))
        return word if kind in ("word", "element") else word.capitalize()
    if rng.random() < 0.3 and kind in ("country", "city", "state", "element"):
        pool = {"country": [c["name"] for c in facts["countries"] if " " not in c["name"]],
                "element": [e["name"] for e in facts["elements"]]}.get(kind) or facts["cities"][:2000]
        first, second = rng.choice(pool), rng.choice(pool)
        made = first[: max(2, len(first) // 2)] + second[len(second) // 2:].lower()
        if made not in pool:
            return made
    if kind in ("city", "state") and rng.random() < 0.35:
        return rng.choice(facts["cities"][3000:]) if kind == "city" else rng.choice(facts["cities"][:1500])
    ends = {"country": COUNTRY_ENDS, "element": ELEMENT_ENDS, "city": CITY_ENDS, "state": COUNTRY_ENDS + CITY_ENDS}[kind]
    name = syllables(rng, 1 + (rng.random() < 0.6)) + rng.choice(ends)
    if kind == "element":
        return name
    if rng.random() < 0.1:
        name = rng.choice(["North ", "South ", "New ", "Saint ", "the Kingdom of ", "the Republic of ", "East "]) + name.capitalize()
        return name
    return name.capitalize()


def syllables(rng, count):
    return "".join(rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(CODAS) for _ in range(count))


class Unknowns:
    def __init__(self, facts, rels):
        self.facts = facts
        self.held_names = {n.replace("-", " ").lower() for n in HELD_COUNTRIES + HELD_ELEMENTS + HELD_CITIES}
        self.rels = [r for r in rels if r.subject_kind not in ("thing",)]
        self.names = {"country": {c["name"].lower() for c in facts["countries"]},
                      "element": {e["name"] for e in facts["elements"]},
                      "word": set(facts["definitions"]), "state": {x.lower() for r in rels if r.name == "state_capital" for x, _ in r.pairs},
                      "city": {x.lower() for r in rels if r.name in ("capital_of", "capital_of_state") for x, _ in r.pairs}}

        taught = {w for r in rels for text in r.phrases + r.questions for w in text.lower().split()}
        self.odd_words = [w for w in facts["common_words"] if w not in taught and w[:-1] not in taught and w + "s" not in taught]
        self.listed = {kind: sorted(names) for kind, names in self.names.items()}
        self.spelling = {c["name"].lower(): c["name"] for c in facts["countries"]}

    def subject(self, rng, kind, held):
        while True:
            if held:
                pools = {"country": HELD_COUNTRIES, "state": HELD_COUNTRIES, "element": HELD_ELEMENTS, "city": HELD_CITIES,
                         "word": self.facts["unknown_words"][:600]}
                name = rng.choice(pools[kind]).replace("-", " ") if kind in pools else invented(rng, kind, self.facts)
            elif rng.random() < 0.12:  # a known name of another kind: the capital of oxygen, the symbol of France
                other = {"country": "element", "element": "country", "city": "word", "state": "element", "word": "city"}.get(kind)
                name = rng.choice(self.listed[other]).capitalize() if other else invented(rng, kind, self.facts)
            elif rng.random() < 0.15 and self.listed.get(kind):  # a known name with another beginning or end: an element called silverium
                known = rng.choice(self.listed[kind])
                cut = rng.randint(max(2, len(known) - 4), len(known))
                name = known[:cut] + rng.choice([syllables(rng, 1), "ium", "ia", "ite", "um", "ide", "ane", "land", "ine", "ville", "ess"]) if rng.random() < 0.8 else syllables(rng, 1) + known[-cut:]
                name = name if kind in ("element", "word") else name.capitalize()
            else:
                name = invented(rng, kind, self.facts)
            clash = any(name.lower() in names for k, names in self.names.items() if k == kind or (k in ("country", "state") and kind in ("country", "state")))
            if not clash and (held or name.lower() not in self.held_names):
                return name

    def fill(self, rng, text):
        from common_facts import HELD_NAMES, NAMES
        values = {key: rng.choice(options) for key, options in SLOTS.items()}
        word = rng.choice(self.facts["common_words"])
        title = " ".join(w.capitalize() for w in rng.sample(self.facts["common_words"], rng.randint(1, 3)))
        values |= {"year": rng.randint(2027, 2150), "past": rng.randint(1200, 2020), "word": word, "city": rng.choice(self.facts["cities"]),
                   "city2": rng.choice(self.facts["cities"]), "title": rng.choice(["", "the book ", "the film "]) + rng.choice([f'"{title}"', title]),
                   "person": rng.choice(NAMES + HELD_NAMES) + " " + syllables(rng, 2).capitalize()}
        return relations.capitalise(text.format(**values))

    def sample(self, rng, held=False, noise=None):
        """(class, question, answer, thought)"""
        pick = rng.random()
        if pick < 0.47:
            rel = rng.choice(self.rels)
            kind = rel.subject_kind
            x = self.subject(rng, kind, held)
            question = relations.phrase_question(rng, rel, x, held, noise)
            names = {"country": "a country called", "element": "an element called", "city": "a capital called", "state": "a state called",
                     "word": "the word", "symbol": "an element with the symbol", "atomic number": "an element with the atomic number"}
            reason = f"{names[kind]} {x}"
            return "invented", question, f"I don't know {reason}.", f"I have not learnt about {reason}."
        if pick < 0.62:
            kind = rng.choice(["country", "country", "element", "city"])
            x = self.subject(rng, kind, held) if rng.random() < 0.2 else rng.choice(self.listed[kind])
            x = relations.capitalise(x) if kind == "city" else x
            if kind == "country":
                x = self.spelling.get(x, x)
            attribute = rng.choice((HELD_ATTRIBUTES if held else ATTRIBUTES)[kind].split("|"))
            if not held and rng.random() < 0.5:  # any word will do: the number of tables of France
                word, other = rng.sample(self.odd_words, 2)
                attribute = rng.choice([f"the {word}", f"the {other} {word}", f"the number of {word}s", f"the most {other} {word}", f"the first {word}", f"the best {word}", f"the {word} rate"])
            attribute += " of " + x
            carrier = rng.choice(relations.HELD_CARRIERS if held else relations.CARRIERS)
            carrier = noise.disturb(rng, carrier) if noise else carrier
            question = relations.capitalise(carrier.replace("{np}", attribute).replace("{Np}", relations.capitalise(attribute)))
            return "untaught", question, f"I don't know {attribute}.", f"I have not learnt {attribute}."
        groups = [("private", PRIVATE, HELD_PRIVATE, "I don't know. You have not told me.", "The user has not told me this."),
                  ("future", FUTURE, HELD_FUTURE, "I don't know. I cannot see the present or the future.", "I cannot see the present or the future."),
                  ("trivia", TRIVIA, HELD_TRIVIA, "I don't know. I have not learnt that.", "I have not learnt this.")]
        name, texts, held_texts, answer, thought = groups[0 if pick < 0.74 else 1 if pick < 0.84 else 2]
        text = rng.choice([t for line in (held_texts if held else texts).split("\n") for t in line.split("|")])
        return name, self.fill(rng, noise.disturb(rng, text, 0.5) if noise and not held else text), answer, thought
