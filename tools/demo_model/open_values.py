"""Argument values as users write them: rare and made-up words with every border between tokens, mixed case, other languages,
digits, paths, addresses, commands, longer texts. Training only; the evaluation's values come from tool_tasks.py.
"""

import common_facts
from unknowns import syllables

FOREIGN = """Müller Zoë café naïve señor Ángel Straße Größe François crème brûlée jalapeño São Łódź Kraków Øresund smörgåsbord façade Noël Dvořák Håkon Žižka über Köln mañana piñata Curaçao Málaga
garçon fiancé rosé déjà vu doppelgänger Weltschmerz schnell morgen guten Tag bonjour monde merci beaucoup hola amigo gracias ciao bella domani dobry den takk tusen hyvää yötä obrigado saudade
kawaii sakura namaste guru tere hommikust jó napot merhaba dünya selam buenas noches auf Wiedersehen""".split()
ENDS = "txt md py json csv c h log html cfg yaml toml cpp rs js ts png jpg pdf xml sh sql ini zip tar.gz bak conf lock tmp go java".split()
DOMAINS = "com org net de io edu gov fr co.uk info eu ch".split()
TASKS = "buy {w}|call {n}|water the {w}|clean the {w}|pay the {w}|{w} meeting|meeting with {n}|dinner with {n}|{w} and {w}|the {w} of {n}|{w} for {n}|visit {n}|fix the {w}|read about {w}|{n}'s birthday|{w} review|lunch|the last {w}|project {w}|book the {w}|feed the {w}|{w} lesson|ask {n} about {w}|bring {w} to {n}|best {w} in {c}|trip to {c}|history of {c}|cheap {w}|how to {w}|{w} vs {w}|new {w} {d}|order {w} no. {d}|{d} {w}|{w} {d}|a {w} with {w}|{w}, {w}|{w} to {c}|{w} and {w} in {c}|the {w} in the {w}|{w} for the {w}|cheap {w} to {c}|how {w} is made|what to do in {c}|where to buy {w}|the best {w} of {d}|{w} without {w}|I love {w}|my {w} is {w}|why is the {w} {w}|{w} at the {w}|renew the {w}|call the {w}|pick up {w} from the {w}|fix {w} and {w}".split("|")
SENTENCES = "I will be {d} minutes late.|The {w} is in the {w}.|Don't forget the {w}!|We meet at {t} in {c}.|Can you bring {w}?|{n} called about the {w}|the code is {x}|see you at {t}|Happy birthday, {n}!|call me back|I'm at the {w} with {n}|Where are you?|it's {d} now|The {w} costs {d}.|yes|no, thanks|ok|{w} {w} {w} {w} {w}|please water the {w} on {n}'s {w}|version {d}.{d} is out|Hello {n}, the {w} is ready.|todo: {w}|{w}: {w}, {w}: {w}|let's go to {c}|Good luck with the {w}, {n}|I love {c}|key={w}|{c} at {t}|a {w} is a {w}|We need {d} {w} and {d} {w}.".split("|")
ROOMS = "hallway corridor porch balcony basement library studio workshop pantry laundry stairs terrace sauna gym lobby entrance kitchenette cloakroom den loft patio shed greenhouse conservatory".split() + ["guest room", "playroom", "meeting room", "master bedroom", "upper floor", "tv room", "children's room", "room {d}", "office {d}", "server room", "back yard", "{w} room", "{n}'s room"]
FOODS = "ramen sushi lasagna risotto paella falafel hummus kebabs bagels donuts croissants muffins steaks fries wraps omelettes pretzels burritos samosas meatballs lattes juices smoothies milkshakes colas cakes cookies yogurts apples salmon".split() + ["spring rolls", "ice creams", "hot dogs", "fish and chips", "green teas", "{w} pizzas", "{w} soups", "{w} burgers", "bowls of {w}", "cups of {w}", "{w} pies"]
LANGUAGES = "Portuguese Norwegian Czech Hungarian Romanian Bulgarian Ukrainian Russian Croatian Serbian Slovak Estonian Latvian Lithuanian Icelandic Irish Welsh Basque Catalan Hebrew Persian Urdu Bengali Tamil Thai Vietnamese Indonesian Malay Swahili Zulu Mandarin Cantonese Esperanto Klingon English Chinese".split()
PROGRAMS = "ls cat grep find python3 node gcc make cmake git curl tar ssh scp chmod echo head tail sort wc du cp mv rm touch pytest cargo go docker kubectl ps kill sed awk pip npm".split()
FLAGS = "run build|run dev|start|compose up|run tests|-e 1|get pods|commit -m fix|clean|init|list|-la|-l -a -v -n -r -f -x -p 8080|--help|--version|--all|-rf|--depth 1|-O2|--release|-j8|-c|-m|--dry-run|-i|-lh|--quiet|install|build|status|log|diff|run|test|push origin main|checkout -b".split("|")


class OpenValues:
    def __init__(self, words, rare, cities, sentences):
        self.words, self.rare, self.cities, self.sentences = words, rare, cities, sentences

    def pieces(self, rng):
        """A word glued from parts of words: its tokens meet in ways no dictionary has."""
        out = ""
        for _ in range(rng.choice([1, 2, 2, 2, 3])):
            word = rng.choice(self.rare)
            length = rng.randint(2, 6)
            at = rng.randrange(max(1, len(word) - length + 1))
            out += word[at:at + length]
        return out

    def word(self, rng):
        pick = rng.random()
        if pick < 0.35:
            text = rng.choice(self.rare)
        elif pick < 0.65:
            text = self.pieces(rng)
        elif pick < 0.75:
            text = syllables(rng, rng.randint(1, 3))
        elif pick < 0.8:
            text = rng.choice(FOREIGN)
        elif pick < 0.9:
            text = rng.choice(self.words) + rng.choice("-_") + rng.choice(self.words)
        else:
            text = rng.choice(self.words) + str(rng.randint(1, 999))
        pick = rng.random()
        return text.capitalize() if pick < 0.15 else text.upper() if pick < 0.2 and len(text) < 9 else text

    def plain(self, rng):
        return rng.choice(self.words) if rng.random() < 0.5 else self.word(rng)

    def name(self, rng):
        first = rng.choice([rng.choice(common_facts.NAMES), self.pieces(rng).capitalize(), rng.choice(self.rare).capitalize()])
        pick = rng.random()
        return first if pick < 0.6 else f"{first} {self.pieces(rng).capitalize()}" if pick < 0.8 else rng.choice(["Dr. ", "Mr. ", "Mrs. ", "aunt ", "Prof. "]) + first

    def city(self, rng):
        pick = rng.random()
        if pick < 0.6:
            return rng.choice(self.cities)
        made = self.pieces(rng).capitalize() if pick < 0.8 else rng.choice(self.rare).capitalize()
        return made if rng.random() < 0.5 else rng.choice(["New ", "Port ", "San ", "Saint ", "El ", "Bad ", "Al ", "Upper ", "Lake ", "Santa "]) + made

    def fill(self, rng, text):
        while "{" in text:
            for mark, make in (("{w}", lambda: self.plain(rng)), ("{n}", lambda: self.name(rng)), ("{c}", lambda: self.city(rng)), ("{d}", lambda: str(rng.randint(1, 500))),
                               ("{t}", lambda: f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}"), ("{x}", lambda: self.code(rng))):
                if mark in text:
                    text = text.replace(mark, make(), 1)
        return text

    def code(self, rng):
        letters = lambda n: "".join(rng.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(n))
        digits = lambda n: "".join(rng.choice("0123456789") for _ in range(n))
        pick = rng.randrange(6)
        text = [lambda: letters(2) + digits(rng.randint(3, 9)), lambda: f"{letters(3)}-{digits(4)}", lambda: f"{digits(4)}-{digits(4)}", lambda: letters(1) + digits(2) + letters(2) + digits(3),
                lambda: digits(rng.randint(6, 12)), lambda: f"{letters(2)}-{digits(3)}-{letters(2)}"][pick]()
        return text.lower() if rng.random() < 0.15 else text

    def slug(self, rng):
        return rng.choice("-_/.").join(self.plain(rng).lower() for _ in range(rng.randint(1, 3))) + rng.choice(["", "", str(rng.randint(1, 99))])

    def path(self, rng):
        part = lambda: rng.choice([rng.choice(self.words), self.pieces(rng), self.word(rng).replace(" ", ""), rng.choice(["src", "docs", "tmp", "home", "data", "etc", "var", "lib", "test", "build"])])
        text = rng.choice(["", "", "", "/", "./", "../", "~/", "C:/"]) + "/".join(part() for _ in range(rng.randint(1, 4)))
        if rng.random() < 0.2:
            text += rng.choice(["_", "-"]) + str(rng.randint(1, 2030))
        return text + ("." + rng.choice(ENDS) if rng.random() < 0.93 else rng.choice([".d/Makefile", "/README", "/.env"]))

    def command(self, rng):
        parts = [rng.choice(PROGRAMS)]
        for _ in range(rng.randint(0, 3)):
            parts.append(rng.choice([rng.choice(FLAGS), rng.choice(FLAGS), self.path(rng), rng.choice(self.words)]))
        return " ".join(parts)

    def phrase(self, rng):
        pick = rng.random()
        if pick < 0.5:
            return self.fill(rng, rng.choice(TASKS))
        if pick < 0.8:
            return " ".join(self.plain(rng) for _ in range(rng.randint(1, 5)))
        return rng.choice(self.sentences)

    def sentence(self, rng):
        pick = rng.random()
        if pick < 0.45:
            return self.fill(rng, rng.choice(SENTENCES))
        if pick < 0.6:
            return " ".join(self.plain(rng) for _ in range(rng.randint(2, 9)))
        text = rng.choice(self.sentences)
        if pick < 0.75:
            text = text[:1].upper() + text[1:] + rng.choice([".", "!", "", "?"])
        elif pick < 0.9:  # one foreign body: what is copied must not be completed from memory
            words = text.split(" ")
            words[rng.randrange(len(words))] = self.word(rng)
            text = " ".join(words)
        else:
            text += rng.choice(["; ", ", ", ". "]) + rng.choice(self.sentences)
        return text

    def value(self, rng, name):
        """A text for a value of this kind, or None where the kind has no wider form."""
        made = {"word": self.word, "phrase": self.phrase, "sentence": self.sentence, "name": self.name, "city": self.city, "path": self.path, "command": self.command, "tracking": self.code, "slug": self.slug,
                "room": lambda r: self.fill(r, r.choice(ROOMS)), "food": lambda r: self.fill(r, r.choice(FOODS)), "language": lambda r: r.choice(LANGUAGES),
                "title": lambda r: " ".join(rng.choice([self.plain(r).capitalize(), self.plain(r).capitalize(), rng.choice(["of", "the", "and", "in", "a", "2", "for"])]) for _ in range(rng.randint(1, 4))).strip().capitalize() if r.random() < 0.5 else self.phrase(r),
                "email": lambda r: f"{rng.choice([self.name(r).lower().replace(' ', '.').replace('..', '.'), self.pieces(r), rng.choice(self.words)])}{rng.choice(['', '', str(rng.randint(1, 99))])}@{rng.choice([rng.choice(self.words), self.pieces(r), rng.choice(self.words) + '-' + rng.choice(self.words)])}.{rng.choice(DOMAINS)}",
                "url": lambda r: f"{rng.choice(['https://', 'http://', 'www.', ''])}{rng.choice([rng.choice(self.words), self.pieces(r)])}.{rng.choice(DOMAINS)}{rng.choice(['', '/', '/' + rng.choice(self.words), '/' + self.pieces(r) + '.html', '/a?id=' + str(rng.randint(1, 999))])}",
                "clock": lambda r: f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}" if rng.random() < 0.8 else f"{rng.randint(1, 12)}{rng.choice([' pm', ' am', 'pm', 'am'])}",
                "ticker": lambda r: "".join(rng.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(rng.randint(1, 5))),
                "expression": lambda r: self.expression(rng)}.get(name)
        return None if made is None else made(rng)

    @staticmethod
    def expression(rng):
        number = lambda: str(rng.choice([rng.randint(1, 99), rng.randint(1, 9999), rng.randint(1, 999) / 10]))
        text = number()
        for _ in range(rng.randint(1, 3)):
            text += rng.choice([" {o} ", " {o} ", "{o}"]).format(o=rng.choice(["+", "-", "*", "/", "**", "%"])) + number()
        return text if rng.random() < 0.7 else f"({text}) {rng.choice('+-*/')} {number()}"
