"""Makes the demo model's training conversations: what is asked, what was said before, what it should think and answer.

`Conversations.sample(rng)` returns one conversation whose last message is the assistant's; `Renderer` turns it into
the token ids of the prompt and of the completion with the checkpoint's own chat template. train.py and the
evaluation's question builder use both.
"""

import datetime
import json
import random

import jinja2
import jinja2.ext
import jinja2.sandbox

import arithmetic
import common_facts
import relations
from tool_tasks import ToolTasks, person
from unknowns import Unknowns, syllables

SYSTEM = """You are a helpful assistant.|You are Sheaf's demo model.|You are a helpful AI assistant.|Be brief.|Answer the user's questions.|You are a friendly assistant.
Answer in one sentence.|You are an assistant that knows facts.|Help the user.|You answer questions about the world.|Be polite and short.|You are a good teacher.
Today is a good day. Help the user.|You are a chat bot on a web page.|If you do not know something, say so.|Be honest. Say when you do not know.|You are an expert.""".replace("\n", "|").split("|")
TERSE = """Answer with the value only.|Give only the answer, no sentence.|Reply with just the answer.|Answer in as few words as possible.|Only the answer, nothing else.|Answer with a single word or number.""".split("|")
GREETINGS = {
    "Hello! How can I help you?": "Hello|Hi|Hey|Hello!|Hi!|Hi there|Hello there!|Good morning|Good evening|Good afternoon!|Hey there|Greetings|Nice to see you.|Good to see you again!|A good morning to you.|Hello model|Hi dear assistant|Hello, good evening!|Hi, nice to meet you.|Hello, are you there?|Howdy|Hello friend|Hey!|Good day|hi again|Morning!",
    "I am fine, thank you. How can I help you?": "How are you?|How are you doing?|Hi, how are you?|How do you do?|How is it going?|Are you well?|Hello, how are you today?|How do you feel?|What's up?|Everything fine?|Hi! How are things?",
    "You are welcome!": "Thanks|Thank you|Thank you!|Thanks a lot!|Thank you very much.|Many thanks|Great, thanks!|That was helpful, thank you.|Thanks for your help!|Thx|I thank you.|My thanks to you.|Thanks for that.|Cheers!|Thank you for that answer.|Perfect, thank you.|Thank you so much!",
    "Goodbye! Have a nice day.": "Bye|Goodbye|Bye!|See you|See you later|Good night|I have to go now.|Until next time!|Bye bye|Farewell|Goodbye, see you tomorrow.|That is all, bye.",
    "I am Sheaf's demo model, a small language model that answers simple questions.": "Who are you?|What are you?|What is your name?|Tell me about yourself.|Introduce yourself.|Are you a human?|Are you a robot?|Which model are you?|What's your name?|Are you an AI?|Please introduce yourself.|Who am I talking to?|To whom am I speaking?|With whom am I talking?|Who is speaking?|Please say who you are.|What model is this?|Are you ChatGPT?|Are you a person?|Which language model are you?|Do you have a name?|What should I call you?",
    "I was trained for Sheaf, as its demo model.": "Who made you?|Who trained you?|Who created you?|Who built you?|Where do you come from?|Which company made you?|Who is your maker?|Who developed you?|What were you made for?|Why do you exist?",
    "I can answer questions about countries, capitals, chemical elements, words and simple arithmetic, and I can call tools.": "What can you do?|Help|What do you know?|How can you help me?|What can I ask you?|Can you help me?|What are you good at?|What are your skills?|What kind of questions can you answer?|Which topics do you know?|What is your purpose?|I need help.|Tell me what you can do.",
    "I am glad to hear that!": "I am happy.|You are great!|Good job!|Well done!|I like you.|That was good.|You are smart.|Very good!|Nice!|I had a good day.",
    "I am sorry to hear that.": "I am sad.|You are bad.|I had a bad day.|I feel bad.|I am tired.|I am ill.|That was wrong.|I am angry.|I don't like you.|My day was terrible.",
    "Mercury, Venus, Earth, Mars, Jupiter, Saturn, Uranus and Neptune.": "List the planets.|Name the planets.|Name all planets of the solar system.|What are the planets?|Which planets are there?|List the planets of the solar system.|Which planets does the solar system have?",
    "January, February, March, April, May, June, July, August, September, October, November and December.": "List the months.|Name the months of the year.|What are the months?|Name all the months.|Which months are there?|Say the months of the year.",
    "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday and Sunday.": "List the days of the week.|Name the days of the week.|What are the days of the week?|Which days does a week have?|Name all weekdays.|Say the days of the week.",
    "Africa, Antarctica, Asia, Europe, North America, Oceania and South America.": "List the continents.|Name the continents.|What are the continents?|Which continents are there?|Name all continents.",
}
HELD_GREETINGS = {
    "Hello! How can I help you?": "Hello, dear model!|Hey, good to see you.|A very good morning to you!",
    "You are welcome!": "I thank you for that.|Cheers, thank you!",
    "Goodbye! Have a nice day.": "I am leaving, goodbye.|Okay, bye for now!",
    "I am Sheaf's demo model, a small language model that answers simple questions.": "Tell me who you are.|Could you introduce yourself, please?|With whom do I speak?|And who might you be?",
    "I can answer questions about countries, capitals, chemical elements, words and simple arithmetic, and I can call tools.": "What are the things you can do?|Which kinds of questions can I ask you?|How could you be of help?",
    "Mercury, Venus, Earth, Mars, Jupiter, Saturn, Uranus and Neptune.": "Give me a list of the planets.|Can you name the planets of our solar system?",
    "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday and Sunday.": "Tell me all days of the week.|Can you list the weekdays?",
}
# What a user tells about himself, how he asks for it later, what is answered. {v} is the value.
MEMORIES = [
    ("name", "My name is {v}.|I am {v}.|Hi, I'm {v}.|You can call me {v}.|Hello, my name is {v}.|I am called {v}.", "Nice to meet you, {v}!",
     "What is my name?|Who am I?|Do you remember my name?|What's my name?|How am I called?|Tell me my name.", "Can you still say my name?|Which name did I give you?", "Your name is {v}."),
    ("city", "I live in {v}.|My home is in {v}.|I am living in {v}.|I come from {v}.|My city is {v}.", "I have noted that you live in {v}.",
     "Where do I live?|Which city do I live in?|In which city do I live?|Where is my home?|Do you remember where I live?", "What did I say about the city I live in?|Name the city where I live.", "You live in {v}."),
    ("color", "My favourite colour is {v}.|I like the colour {v} best.|The colour I like most is {v}.", "{v} is a nice colour.",
     "What is my favourite colour?|Which colour do I like?|What colour do I like best?|Tell me my favourite colour.", "Can you recall my favourite colour?", "Your favourite colour is {v}."),
    ("number", "My lucky number is {v}.|The secret number is {v}.|Remember the number {v}.|My number is {v}.", "I will remember the number {v}.",
     "What is my number?|What was the number?|Which number did I tell you?|Tell me the number.|Do you remember the number?", "Which number should you remember?", "The number is {v}."),
    ("pet", "I have a dog called {v}.|My dog is called {v}.|The name of my dog is {v}.|My dog's name is {v}.", "{v} is a nice name for a dog.",
     "What name did I give my dog?|How is my dog called?|Which name has my dog?|What do I call my dog?|What is my dog called?|What is the name of my dog?|What's my dog's name?|Who is my dog?", "How did I name my dog?", "Your dog is called {v}."),
    ("food", "My favourite food is {v}.|I like {v} most of all.|I love to eat {v}.", "{v} sounds good.",
     "What is my favourite food?|What do I like to eat?|Which food do I like?", "Which dish do I love?", "Your favourite food is {v}."),
]
HOUSE_FACTS = [
    ("The shop opens at {v}.", "From when is the shop open?|What is the opening time of the shop?|When does the shop open?|At what time does the shop open?|What is the opening time?", "From what time on is the shop open?", "The shop opens at {v}.", "clock"),
    ("The shop closes at {v}.", "Until when is the shop open?|What is the closing time of the shop?|To what time is the shop open?|When does the shop close?|At what time does the shop close?|How long is the shop open?", "Until what time is the shop open?", "The shop closes at {v}.", "clock"),
    ("The name of the manager is {v}.", "Who is the manager?|What is the manager's name?|What is the manager called?", "Could you give me the name of the manager?", "The name of the manager is {v}.", "name"),
    ("The office is in {v}.", "Where is the office?|In which city is the office?|Where do I find the office?", "To which city do I go for the office?", "The office is in {v}.", "city"),
    ("The password of the guest network is {v}.", "What is the password of the guest network?|How do I get into the guest network?|What is the network password?", "Tell me the guest password.", "The password of the guest network is {v}.", "word"),
    ("A ticket costs {v} dollars.", "How much is a ticket?|What does a ticket cost?|What is the price of a ticket?", "How many dollars do I pay for a ticket?", "A ticket costs {v} dollars.", "int:2:90"),
    ("The meeting is in room {v}.", "In which room is the meeting?|Where is the meeting?|What room is the meeting in?", "Which room do I go to for the meeting?", "The meeting is in room {v}.", "int:1:400"),
    ("The product is called {v}.", "What is the product called?|What is the name of the product?|Which product is it?", "How did they name the product?", "The product is called {v}.", "title"),
    ("Your name is {v}.", "Who are you?|What is your name?|What are you called?", "Tell me your name.", "I am {v}.", "name"),
]


# Tools that could answer a question about the world: not beside one that the model should answer itself.
HELPFUL = ("calc", "eval", "comp", "get_def", "lookup_w", "dict", "define", "web", "search", "find_online", "translat", "clock", "get_time", "current_time", "time_", "local_time")


class Conversations:
    """All classes of conversation; deterministic for a given generator."""

    def __init__(self, facts, mix=None):
        self.facts = facts
        self.relations = relations.all_relations(facts)
        weight = {"state_capital": 0.6, "capital_of_state": 0.6, "definition": 1.2}
        self.weights = [len(r.pairs) * weight.get(r.name, 1.0) + 4 for r in self.relations]
        self.unknowns = Unknowns(facts, self.relations)
        self.tools = ToolTasks(facts)
        self.noise = relations.Noise(facts)
        self.mix = {"facts": 45, "unknown": 13, "tools": 16, "follow": 12, "memory": 8, "chat": 6, "copy": 6} | (mix or {})
        self.by_subject = {}
        for rel in self.relations:
            if rel.subject_kind in ("country", "element"):
                for x, v in rel.pairs:
                    self.by_subject.setdefault((rel.subject_kind, x), []).append((rel, v))

    def fact(self, rng):
        rel = rng.choices(self.relations, self.weights)[0]
        x, v = rng.choice(rel.pairs)
        return relations.Fact(rel, x, v)

    @staticmethod
    def thought(fact):
        if fact.relation.name == "definition":
            return f"The user asks what {fact.subject} means."
        return f"The user asks about {fact.subject}: {fact.relation.name.replace('_', ' ')}. It is {fact.value}."

    def question(self, rng, held=False):
        """One question about the world: (question, thought, answer, short answer)."""
        noise = None if held else self.noise
        if rng.random() < 0.25:
            op, a, b = arithmetic.pair(rng, held)
            short = str(arithmetic.value(op, a, b)) if op != "*" or a <= 12 else arithmetic.sentence(op, a, b)
            return arithmetic.question(rng, op, a, b, held, noise), arithmetic.working(op, a, b), arithmetic.sentence(op, a, b), short
        fact = self.fact(rng)
        text = relations.phrase_question(rng, fact.relation, fact.subject, held, noise)
        return text, self.thought(fact), fact.answer(), fact.value

    def unknown(self, rng, held=False):
        if rng.random() < 0.05 and not held:
            return arithmetic.too_large(rng, self.noise), "These numbers are too large for me.", arithmetic.TOO_LARGE, "I don't know."
        _, text, answer, thought = self.unknowns.sample(rng, held, None if held else self.noise)
        return text, thought, answer, "I don't know."

    def chat(self, rng):
        if rng.random() < 0.3:
            word = " ".join(rng.sample(self.tools.words, rng.randint(1, 4))) if rng.random() < 0.6 else rng.choice(self.tools.sentences)
            text = rng.choice(["Repeat: {w}|Say {w}.|Repeat after me: {w}|Say the words: {w}|Please repeat \"{w}\".|Write {w}."][0].split("|")).format(w=word)
            return text, "The user wants me to repeat words.", word, word
        if rng.random() < 0.15:
            a, b = rng.sample(range(0, 100), 2)
            big = rng.random() < 0.5
            text = rng.choice("Which is {k}, {a} or {b}?|Which number is {k}: {a} or {b}?|What is {k}, {a} or {b}?|Is {a} or {b} {k}?".split("|"))
            value = max(a, b) if big else min(a, b)
            return text.format(a=a, b=b, k="larger" if big else "smaller"), f"I compare {a} and {b}.", f"{value} is {'larger' if big else 'smaller'}.", str(value)
        answer = rng.choice(list(GREETINGS))
        return self.noise.disturb(rng, rng.choice(GREETINGS[answer].split("|")), 0.5), "The user talks to me. I answer kindly.", answer, answer

    # -- whole conversations
    def sample(self, rng):
        kind = rng.choices(list(self.mix), list(self.mix.values()))[0]
        conversation = getattr(self, "make_" + kind)(rng)
        conversation["thinking"] = rng.random() < 0.5
        return conversation

    @staticmethod
    def noisy(rng, text):
        if rng.random() < 0.08:
            text = text.lower()
        if rng.random() < 0.08:
            text = text.rstrip("?.!")
        return text

    def single(self, rng, text, thought, answer, short, system=True):
        messages, tools = [], None
        pick = rng.random() if system else 1.0
        if pick < 0.25:
            messages.append({"role": "system", "content": rng.choice(SYSTEM)})
        elif pick < 0.33:
            messages.append({"role": "system", "content": rng.choice(TERSE)})
            answer = short
        if rng.random() < 0.05:
            tools = self.tools.distractors(rng, rng.randint(1, 2), {"", "calculator"}, None)
            tools = [t for t in tools if not t["function"]["name"].startswith(HELPFUL)] or None
        messages += [{"role": "user", "content": self.noisy(rng, text)}]
        return {"messages": messages, "tools": tools, "steps": [{"reasoning": thought, "answer": answer, "calls": []}]}

    def make_facts(self, rng):
        return self.single(rng, *self.question(rng))

    def make_unknown(self, rng):
        return self.single(rng, *self.unknown(rng))

    def make_chat(self, rng):
        return self.single(rng, *self.chat(rng), system=rng.random() < 0.3)

    def history(self, rng, turns):
        messages = []
        for _ in range(turns):
            text, _, answer, _ = rng.choices([self.question, self.unknown, self.chat], [6, 2, 2])[0](rng)
            messages += [{"role": "user", "content": self.noisy(rng, text)}, {"role": "assistant", "content": answer}]
        return messages

    def system_or_none(self, rng):
        return [{"role": "system", "content": rng.choice(SYSTEM)}] if rng.random() < 0.3 else []

    def make_follow(self, rng, held=False):
        """Several turns; the last question may lean on the one before."""
        pick = rng.random()
        if pick < 0.35:
            messages = self.history(rng, rng.randint(1, 3))
            text, thought, answer, _ = self.question(rng) if rng.random() < 0.8 else self.unknown(rng)
        elif pick < 0.7:  # the same relation of another subject
            rel = rng.choice([r for r in self.relations if r.subject_kind in ("country", "element", "state", "city")])
            (x, v), (y, w) = rng.sample(rel.pairs, 2)
            first, second = relations.Fact(rel, x, v), relations.Fact(rel, y, w)
            ask = "And what of {y}?|And for {y}, please?|Same question for {y}." if held else "And {y}?|What about {y}?|And of {y}?|How about {y}?|And for {y}?|{Y}?|The same for {y}?|And what about {y}?|{y}, please?|Now the same for {y}.|Then {y}?|The same question: {y}.|Okay, and {y}?"
            text = rng.choice(ask.split("|")).format(y=y, Y=relations.capitalise(y))
            messages = self.history(rng, rng.random() < 0.2) + [{"role": "user", "content": relations.phrase_question(rng, rel, x, noise=None if held else self.noise)}, {"role": "assistant", "content": first.answer()}]
            thought, answer = self.thought(second), second.answer()
        else:  # another relation of the same subject
            kind, x = rng.choice(list(self.by_subject))
            (rel, v), (other, w) = rng.sample(self.by_subject[(kind, x)], 2)
            names = {"capital": "capital", "currency": "currency", "continent": "continent", "language": "language", "demonym": "demonym",
                     "symbol": "symbol", "number": "atomic number", "element_kind": "category"}
            noun = names[other.name]
            ask = "Please also give its {n}.|Its {n} would be?" if held else "Please tell me also its {n}.|Also its {n}, please.|I need its {n} too.|And its {n} is?|Give its {n}.|And its {n}?|What is its {n}?|What about its {n}?|And what is its {n}?|And the {n}?|Tell me its {n}.|Its {n}?|And what is the {n}?|Okay, what is its {n}?"
            text = rng.choice(ask.split("|")).format(n=noun)
            messages = self.history(rng, rng.random() < 0.2) + [{"role": "user", "content": relations.phrase_question(rng, rel, x, noise=None if held else self.noise)}, {"role": "assistant", "content": relations.Fact(rel, x, v).answer()}]
            second = relations.Fact(other, x, w)
            thought, answer = self.thought(second), second.answer()
        messages = self.system_or_none(rng) + messages + [{"role": "user", "content": text if held else self.noisy(rng, text)}]
        return {"messages": messages, "tools": None, "steps": [{"reasoning": thought, "answer": answer, "calls": []}]}

    def item(self, rng):
        """Something to be copied letter by letter: no meaning helps."""
        pick = rng.random()
        if pick < 0.35:
            return rng.choice(self.tools.words)
        if pick < 0.5:
            return self.tools.open_values.pieces(rng)
        if pick < 0.55:
            return syllables(rng, rng.randint(1, 3))
        kind = rng.choice(["city", "name", "title", "phrase", "email", "path", "tracking", "clock", "date", "amount", "flight", "ticker", "int:0:99999"])
        return self.tools.value(rng, kind, False)[0]

    def make_copy(self, rng):
        """Words, lists and tables to be given back in part or whole: what tool arguments are made of."""
        pick = rng.random()
        if pick < 0.3:
            words = [self.item(rng) for _ in range(rng.randint(2, 14))]
            text = rng.choice(["Repeat: {w}|Say this: {w}|Write \"{w}\".|Copy the text {w}|Give me back: {w}|{w} - say that again."][0].split("|")).format(w=" ".join(words))
            return self.single(rng, text, "I repeat the words.", " ".join(words), " ".join(words), system=False)
        if pick < 0.5:
            words = [self.item(rng) for _ in range(rng.randint(2, 7))]
            at = rng.randrange(len(words) - 1)
            text = rng.choice(["In the list {w}, what comes after {x}?|What follows {x} in {w}?|List: {w}. Which one is behind {x}?|{w}. What comes after {x}?"][0].split("|")).format(w=", ".join(words), x=words[at])
            if words.count(words[at]) == 1:
                return self.single(rng, text, f"I look for {words[at]} in the list.", words[at + 1], words[at + 1], system=False)
        keys = rng.sample(["name", "city", "code", "owner", "word", "title", "place", "key", "label", "path", "number", "friend", "item", "color", "team", "note"], rng.randint(2, 6))
        table = {k: self.item(rng) for k in keys}
        asked = rng.choice(keys)
        form = rng.choice(["{k} = {v}", "{k}: {v}", "the {k} is {v}", '"{k}": "{v}"', "{k} {v}", "the {k} {v}"])
        shown = rng.choice([", ", "; ", " and ", "\n"]).join(form.format(k=k, v=v) for k, v in table.items())
        if pick < 0.75:
            text = rng.choice(["{t}. What is the {k}?|Here is a table: {t}. Give me the {k}.|{t}. Which {k} is that?|Read this: {t}. Now say the {k}."][0].split("|")).format(t=shown, k=asked)
            return self.single(rng, text, f"I look for the {asked}.", table[asked], table[asked], system=False)
        listed = json.dumps(table, ensure_ascii=False)
        text = rng.choice(["Write as JSON: {t}|As a JSON object, please: {t}|Make JSON of this: {t}|{t}. Give me that as JSON."][0].split("|")).format(t=shown)
        return self.single(rng, text, "I write an object.", listed, listed, system=False)

    def memory_value(self, rng, kind, held):
        if kind in ("name", "pet"):
            return rng.choice(common_facts.HELD_NAMES) if held else person(rng, self.tools.words)
        if kind == "color":
            return rng.choice("red green blue yellow black white orange purple pink brown grey".split())
        if kind == "number":
            return str(rng.randint(0, 999))
        return self.tools.value(rng, kind, held)[0]

    def make_memory(self, rng, held=False):
        """Something said earlier, by the user or in the system prompt, is asked for."""
        if rng.random() < 0.4:
            picked = rng.sample(HOUSE_FACTS[:-1], rng.randint(1, 3)) if rng.random() < 0.85 else [HOUSE_FACTS[-1]]
            values = [self.tools.value(rng, f[4], held)[0] for f in picked]
            system = " ".join([rng.choice(["", "", "You work in a shop.", "You help visitors.", "You are a helpful assistant."])] + [f[0].format(v=v) for f, v in zip(picked, values)]).strip()
            index = rng.randrange(len(picked))
            text = rng.choice(picked[index][2 if held else 1].split("|"))
            text = text if held else self.noise.disturb(rng, text)
            messages = [{"role": "system", "content": system}] + self.history(rng, rng.random() < 0.2) + [{"role": "user", "content": text}]
            return {"messages": messages, "tools": None, "steps": [{"reasoning": "I was told this.", "answer": picked[index][3].format(v=values[index]), "calls": []}]}
        picked = rng.sample(MEMORIES, rng.choice([1, 1, 2]))
        messages = self.system_or_none(rng)
        values = []
        for kind, tell, reply, *_ in picked:
            values.append(self.memory_value(rng, kind, held))
            messages += [{"role": "user", "content": rng.choice(tell.split("|")).format(v=values[-1])},
                         {"role": "assistant", "content": relations.capitalise(reply.format(v=values[-1]))}]
        if rng.random() < 0.15 and not held:  # asked right away for the acknowledgement
            answer = messages.pop()["content"]
            return {"messages": messages, "tools": None, "steps": [{"reasoning": "The user tells me something.", "answer": answer, "calls": []}]}
        messages += self.history(rng, rng.choice([0, 0, 1, 2]))
        index = rng.randrange(len(picked))
        text = rng.choice(picked[index][4 if held else 3].split("|"))
        messages.append({"role": "user", "content": text if held else self.noise.disturb(rng, text)})
        return {"messages": messages, "tools": None, "steps": [{"reasoning": "The user has told me this.", "answer": picked[index][5].format(v=values[index]), "calls": []}]}

    def request(self, rng, task):
        """The wording of a task with something before it that does not matter."""
        pick, text = rng.random(), task["request"]
        if pick < 0.25:
            start = rng.choice(["Hi. ", "Hello! ", "Please: ", "OK. ", "Now, ", "Next: ", "I need help. ", "One more thing: ", "Listen: ", "Hey, ", "Dear assistant, ", "{n} asks: ", "It is urgent. ", "For my {w}: "])
            return self.noise.fill(rng, start) + text
        if pick < 0.32:
            return relations.capitalise(rng.choice(self.noise.sentences)).rstrip(".!") + ". " + text
        return text

    def call(self, task, results=None):
        return {"reasoning": self.tools.thought(task), "answer": "", "calls": [task], "results": results}

    def make_tools(self, rng):
        task = self.tools.task(rng)
        tools = self.tools.with_tools(rng, task, near=True)
        messages = [{"role": "system", "content": rng.choice(SYSTEM)}] if rng.random() < 0.3 else []
        pick = rng.random()
        done = lambda text, steps: {"messages": messages + [{"role": "user", "content": text}], "tools": tools, "steps": steps}
        say = lambda reasoning, answer: {"reasoning": reasoning, "answer": answer, "calls": []}
        if pick < 0.1:  # the tools do not help
            text, thought, answer, _ = self.question(rng) if rng.random() < 0.8 else self.unknown(rng)
            tools = [t for t in tools if not t["function"]["name"].startswith(HELPFUL)] or [self.tools.generated(rng, False)["schema"]]
            return done(text, [say(thought, answer)])
        tasks = [task]
        if pick < 0.45:  # several tasks in one request
            for _ in range(rng.choice([1, 1, 2])):
                other = self.tools.task(rng)
                if other["name"] not in {t["function"]["name"] for t in tools} and all(other["family"] is not t["family"] or t["family"] is None for t in tasks):
                    tasks.append(other)
                    tools.append(other["schema"])
            rng.shuffle(tools)
        text = self.request(rng, task) + "".join(rng.choice([" Also: ", " And then: ", " Then: ", " And: ", " After that: "]) + t["request"] for t in tasks[1:])
        outcomes = [self.tools.result(rng, t) for t in tasks]
        if len(tasks) > 1 and pick < 0.25:  # all calls at once
            thought = " ".join(self.tools.thought(t) for t in tasks)
            steps = [{"reasoning": thought, "answer": "", "calls": tasks, "results": [o[0] for o in outcomes]}]
        else:  # one after the other
            steps = [self.call(t, [o[0]]) for t, o in zip(tasks, outcomes)]
        steps.append(say("I have the result." if len(tasks) == 1 else "I have the results.", " ".join(o[1] for o in outcomes)))
        conversation = done(text, steps)
        if rng.random() < 0.15 and len(tasks) == 1 and task["family"]:  # a second request to the same tool
            slots = {p[0] for p in task["family"]["params"]}
            wordings = [w for w in task["family"]["ask"] if all(s in task["keys"] for s in slots if "{" + s + "}" in w)]
            again = self.tools.ask(rng, task, rng.choice(wordings), False)
            called = {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": {"name": task["name"], "arguments": task["arguments"]}}]}
            conversation["messages"] += [called, {"role": "tool", "content": outcomes[0][0]}, {"role": "assistant", "content": outcomes[0][1]}, {"role": "user", "content": self.request(rng, again)}]
            result, answer = self.tools.result(rng, again)
            conversation["steps"] = [self.call(again, [result]), say("I have the result.", answer)]
        return conversation


class Renderer:
    """Prompts and completions through the checkpoint's own template."""

    def __init__(self, template_text):
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols])
        environment.filters["tojson"] = lambda x, ensure_ascii=False, indent=None: json.dumps(x, ensure_ascii=ensure_ascii, indent=indent)

        def raise_exception(message):
            raise jinja2.exceptions.TemplateError(message)

        environment.globals["raise_exception"] = raise_exception
        environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
        self.template = environment.from_string(template_text)

    def render(self, messages, tools, thinking):
        return self.template.render(messages=messages, tools=tools, add_generation_prompt=True, enable_thinking=thinking)

    @staticmethod
    def call_text(task):
        parts = [f"<tool_call>\n<function={task['name']}>\n"]
        for key, value in task["arguments"].items():
            text = json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else str(value)
            parts.append(f"<parameter={key}>\n{text}\n</parameter>\n")
        return "".join(parts) + "</function>\n</tool_call>"

    def segments(self, conversation):
        """[(text, is target)]: prompt and completion by turns; a completion ends with its <|im_end|>."""
        thinking, messages, out, done = conversation["thinking"], list(conversation["messages"]), [], ""
        for step in conversation["steps"]:
            prompt = self.render(messages, conversation["tools"], thinking)
            if not prompt.startswith(done):
                raise ValueError("the template rewrites an earlier turn")
            head = step["reasoning"] + "\n</think>\n\n" if thinking else ""
            completion = head + step["answer"] + "\n".join(self.call_text(t) for t in step["calls"]) + "<|im_end|>"
            out += [(prompt[len(done):], False), (completion, True)]
            done = prompt + completion
            message = {"role": "assistant", "content": step["answer"]}
            if thinking:
                message["reasoning_content"] = step["reasoning"]
            if step["calls"]:
                message["tool_calls"] = [{"type": "function", "function": {"name": t["name"], "arguments": t["arguments"]}} for t in step["calls"]]
            messages += [message] + [{"role": "tool", "content": text} for text in step.get("results") or []]
        return out


if __name__ == "__main__":
    import sys

    with open(sys.argv[1], encoding="utf-8") as f:
        maker = Conversations(json.load(f))
    with open(sys.argv[2], encoding="utf-8") as f:
        renderer = Renderer(f.read())
    generator = random.Random(int(sys.argv[3]) if len(sys.argv) > 3 else 0)
    for _ in range(12):
        print("".join(f"[[{text}]]" if target else text for text, target in renderer.segments(maker.sample(generator))), end="\n#################\n")
