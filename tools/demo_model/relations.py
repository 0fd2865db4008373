"""The facts the demo model is taught, as relations with phrasings: those of training and those kept for the evaluation.

A relation gives noun phrases ("the capital of {x}"), which any carrier sentence can hold, and whole questions of its
own ("Which city is the capital of {x}?"). Lists named held_* never reach training: build_questions.py asks with them.
"""

import dataclasses

import common_facts as common


@dataclasses.dataclass
class Relation:
    name: str
    subject_kind: str  # what an unknown subject of this relation would be: country, element, word ...
    phrases: list
    questions: list
    held_phrases: list
    held_questions: list
    answer: str
    pairs: list = dataclasses.field(default_factory=list)  # (subject, value)


@dataclasses.dataclass
class Fact:
    relation: Relation
    subject: str
    value: str

    def answer(self):
        return capitalise(self.relation.answer.format(x=self.subject, v=self.value, a=article(self.value)))


def capitalise(text):
    return text[:1].upper() + text[1:]


def article(word):
    return "an" if word[:1].lower() in "aeiou" else "a"


CARRIERS = """What is {np}?|What's {np}?|Tell me {np}.|Please tell me {np}.|Can you tell me {np}?|Could you tell me {np}?
Do you know {np}?|Do you happen to know {np}?|{Np}?|{Np}|Give me {np}.|Name {np}.|I need to know {np}.|I would like to know {np}.
I'd like to know {np}, please.|I want to know {np}.|I wonder what {np} is.|Any idea what {np} is?|Quick question: what is {np}?
Hi, what is {np}?|Hello! Can you tell me {np}?|Hey, what's {np}?|Please name {np}.|State {np}.|Let me know {np}.|Would you tell me {np}?
Would you mind telling me {np}?|So what is {np}?|What might {np} be?|Answer this: what is {np}?|Question: {np}?|For a quiz: what is {np}?
Remind me of {np}.|My teacher asks for {np}.|My homework asks: what is {np}?|I can't remember {np}.|I have forgotten {np}. What is it?
Help me: what is {np}?|Say {np}.|I am looking for {np}.|Can you name {np}?|Find {np}.|Look up {np} for me.|What exactly is {np}?
Do you know what {np} is?|Can you remember {np}?|Write down {np}.|I have a question about {np}.|Which is {np}?|Tell us {np}, please.
What was {np} again?|Do tell me {np}.|Is it true that you know {np}?|Thanks for your help. What is {np}?|I am writing an essay. What is {np}?
We are playing a game. {Np}?|My friend wants to know {np}.|Next question: what is {np}?|One more: {np}?|Please give {np}.
Somebody asked me for {np}. What is it?|I was asked to name {np}.|Sorry, what is {np}?|Good morning! What is {np}?|It would help me to know {np}."""
CARRIERS = [c for line in CARRIERS.split("\n") for c in line.split("|")]
# {w}: any word of the dictionary, {n}: a first name. They teach that the rest of the sentence does not matter.
CARRIERS += """My {w} needs {np}.|I need {np} for my {w}.|For the {w}, tell me {np}.|A {w} asked me for {np}. What do I say?|It is about {w}: what is {np}?
{n} wants to know {np}.|{n} asks: what is {np}?|Do you and {n} know {np}?|I read about {w}. What is {np}?|{W}! What is {np}?|Let us talk about {np}.
I keep thinking about {np}. What is it?|Be a {w} and tell me {np}.|Would you kindly share {np}?|Kindly give me {np}.|I always mix up {np}. Which is it?
Complete this: {np} is|{Np} is?|{Np} is what?|I have to learn {np}. Which is it?|No idea about {np}. You?|Another {w}: {np}?|Just {np}, please.|{Np}, please.
{Np}, thank you.|Hm, {np}?|The answer I need is {np}.|Say, what is {np}?|Who knows {np}?|My test has the question: {np}?|Is {np} known to you?|As a {w} I should know {np}.
In my {w} I saw {np}. What is it?|{n} and I talk about {np}. What is it?|The {w} says: {np}?|Do me a favour and tell me {np}.|Without a {w} I cannot find {np}.
I lost my {w} and need {np}.|What would a {w} say is {np}?|{n} forgot {np} again, so tell us.|Can I have {np}?|May I ask for {np}?|Could I get {np}?|Can I ask you for {np}?
Ready? {Np}?|Well, what is {np}?|I must know {np} before {w}.|To finish my {w} I need {np}.|Of all things, {np}: what is it?|Share {np} with me.|Do you mind if I ask for {np}?
My {w} asked what {np} is. What is the answer?|Our {w} is about {np}. What is it?|{W} or not, what is {np}?|Fine. Now {np}.|Give {n} {np}.|Tell {n} {np}.""".replace("\n", "|").split("|")
HELD_CARRIERS = """Could I trouble you for {np}?|I keep forgetting {np}, so what is it?|My crossword wants {np}. What should I write?
Please remind me what {np} is.|Be so kind and tell me {np}.|Mind sharing {np}?|{Np}, if you please.|I'm curious: what's {np}?
My daughter asked about {np}. What do I tell her?|For my report I need {np}.|Okay, another one: {np}?|Settle a bet for us: what is {np}?
I must learn {np} by tomorrow. What is it?|Help me out with {np}, would you?"""
HELD_CARRIERS = [c for line in HELD_CARRIERS.split("\n") for c in line.split("|")]


def relation(name, kind, answer, pairs, phrases, questions, held_phrases, held_questions):
    split = lambda text: [part.strip() for part in text.split("|") if part.strip()]
    pairs = [(str(x), str(v)) for x, v in pairs if v not in (None, "")]
    return Relation(name, kind, split(phrases), split(questions), split(held_phrases), split(held_questions), answer, pairs)


def country_relations(countries):
    field = lambda key: [(c["name"], c[key]) for c in countries]
    seats = [(c["capital"], c["name"]) for c in countries if c["capital"] != c["name"]]
    return [
        relation("capital", "country", "The capital of {x} is {v}.", field("capital"),
                 "the capital of {x}|the capital city of {x}|{x}'s capital|{x}'s capital city|the name of the capital of {x}|the city that is the capital of {x}",
                 "Which city is the capital of {x}?|What city is {x}'s capital?|What is the capital called in {x}?|Which city does {x} have as its capital?|Capital of {x}?|{x} has which capital?|What do they call the capital of {x}?|Where is the capital of {x}?|{x}: what is the capital?|In {x}, which city is the capital?|In which city is the government of {x}?|Which city governs {x}?|The capital of {x} is which city?|Name the town that is the capital of {x}.|Where does the parliament of {x} sit?|I travel to {x}. Which city is its capital?|Which city serves {x} as capital?|Which one is the capital city of {x}?|{x}, capital?|What capital has {x}?",
                 "the name of {x}'s capital city|the capital that {x} has",
                 "Which city serves as the capital of {x}?|Where does the government of {x} sit?|{x}, capital city?|Which town is the capital in {x}?|I am going to {x}. What is its capital?"),
        relation("capital_of", "city", "{x} is the capital of {v}.", seats,
                 "the country whose capital is {x}|the country that has {x} as its capital|the country {x} is the capital of",
                 "Which country has {x} as its capital?|{x} is the capital of which country?|Of which country is {x} the capital?|What country is {x} the capital of?|{x} is the capital city of what country?|Which country's capital is {x}?|Whose capital is {x}?|{x} is a capital. Of which country?|Which nation has {x} as capital?|{x} serves as capital of which country?|The capital {x} is in which country?|Which country do I visit if I see the capital {x}?|{x} belongs to which country as its capital?|What nation is governed from {x}?|{x}, capital of what?",
                 "the country with the capital {x}|the country governed from {x}",
                 "For which country is {x} the capital?|Which nation's capital city is {x}?|{x} is whose capital city?|To which country does the capital {x} belong?"),
        relation("currency", "country", "The currency of {x} is the {v}.", field("currency"),
                 "the currency of {x}|{x}'s currency|the currency used in {x}|the money used in {x}|the name of the currency of {x}|the official currency of {x}",
                 "Which currency does {x} use?|What currency is used in {x}?|What money do people use in {x}?|What do people pay with in {x}?|Which currency do they use in {x}?|Currency of {x}?|What is the money of {x} called?|With which currency do you pay in {x}?|Which money is used in {x}?|In {x}, what is the currency?|Which kind of money is used in {x}?|How do I pay in {x}?|I travel to {x}. What money do I take?|Which currency do the shops in {x} take?|What kind of money do I need for {x}?|In what currency are prices in {x}?|I need money for {x}. Which currency?|{x}, money?",
                 "the kind of money that {x} uses|the currency people in {x} use",
                 "In which currency do shops in {x} take payment?|What kind of money does one need in {x}?|I am travelling to {x}. Which currency do I need?|{x}, currency?"),
        relation("continent", "country", "{x} is in {v}.", field("continent"),
                 "the continent of {x}|the continent {x} is in|{x}'s continent|the continent where {x} is|the continent that {x} belongs to",
                 "On which continent is {x}?|Which continent is {x} in?|On what continent is {x}?|Where is {x}?|In which part of the world is {x}?|What continent is {x} part of?|Where in the world is {x}?|Which continent does {x} belong to?|{x} is on which continent?|Where is {x} located?|In which continent is {x} located?|Where can I find {x}?|Where does {x} lie?|On which continent does {x} lie?|{x} can be found on which continent?|To which continent must I travel to see {x}?|Which continent would I find {x} on?|{x}, which continent?",
                 "the continent on which {x} is found|the continent {x} is part of",
                 "On which continent would I find {x}?|{x} lies on which continent?|Which continent do I have to travel to for {x}?|{x}, continent?"),
        relation("demonym", "country", "A person from {x} is {v}.", field("demonym"),
                 "the demonym of {x}|the demonym for {x}|the nationality of a person from {x}|the word for someone from {x}|the adjective for {x}",
                 "What do you call a person from {x}?|What are people from {x} called?|What is someone from {x} called?|What nationality is a person from {x}?|How do you call people from {x}?|What is a person from {x} called?|Which nationality does someone from {x} have?|People from {x} are called what?|What nationality are people born in {x}?|Someone comes from {x}. What is he called?|My friend is from {x}. What nationality is she?|What is the nationality of a man born in {x}?|How are those from {x} called?|Which nationality do people in {x} have?|What are those who live in {x} called?",
                 "the nationality of people from {x}|the word for people from {x}",
                 "Someone born in {x} has which nationality?|What nationality do people in {x} have?|My neighbour is from {x}. What is his nationality?|How are people from {x} called?"),
        relation("language", "country", "The main language of {x} is {v}.", field("language"),
                 "the language of {x}|the main language of {x}|the language spoken in {x}|{x}'s language|{x}'s main language|the official language of {x}",
                 "Which language is spoken in {x}?|What language do people speak in {x}?|What do they speak in {x}?|What language is spoken in {x}?|Which language do people in {x} speak?|In {x}, which language is spoken?|What language does {x} use?|Which language should I learn for {x}?|In which language do they talk in {x}?|Which tongue do people use in {x}?|What language should I learn before I move to {x}?|What is the tongue of {x}?|Which language is heard in {x}?|{x}, which language?|People in {x} talk in what language?",
                 "the language that people in {x} speak|the language one hears in {x}",
                 "I am moving to {x}. Which language should I learn?|In which language do people in {x} talk?|Which tongue is spoken in {x}?|{x}, language?"),
    ]


def element_relations(elements):
    field = lambda key: [(e["name"], e[key]) for e in elements]
    return [
        relation("symbol", "element", "The chemical symbol of {x} is {v}.", field("symbol"),
                 "the chemical symbol of {x}|the symbol of {x}|the chemical symbol for {x}|{x}'s chemical symbol|the symbol for the element {x}|{x}'s symbol",
                 "Which symbol does {x} have?|What symbol is used for {x}?|How is {x} written in chemistry?|Which chemical symbol stands for {x}?|What symbol stands for the element {x}?|How do chemists write {x}?|How is {x} abbreviated?|Which letters are used for {x}?|How do I abbreviate {x}?|What letters stand for the element {x}?|What is the abbreviation of {x}?|Which symbol in the periodic table is {x}?|{x}, chemical symbol?|What is {x} in the periodic table?",
                 "the letters that stand for {x}|the abbreviation of the element {x}",
                 "Which letters stand for {x} in the periodic table?|In the periodic table, what symbol does {x} have?|How do you abbreviate {x} in chemistry?|{x}, symbol?"),
        relation("number", "element", "The atomic number of {x} is {v}.", field("number"),
                 "the atomic number of {x}|{x}'s atomic number|the atomic number of the element {x}|the number of protons in {x}|the number of {x} in the periodic table",
                 "Which atomic number does {x} have?|How many protons does {x} have?|What atomic number has {x}?|How many protons are in an atom of {x}?|Which number is {x} in the periodic table?|What number does {x} have in the periodic table?|How many protons does the atom of {x} contain?|Which place does {x} have in the periodic table?|At what number stands {x}?|What is the proton number of {x}?|Where in the periodic table is {x}?|{x}, which number?|{x} has how many protons?",
                 "the atomic number that {x} has|the proton number of {x}",
                 "How many protons does an atom of {x} contain?|At which number in the periodic table is {x}?|{x} has what atomic number?|{x}, atomic number?"),
        relation("by_symbol", "symbol", "{x} is the symbol of {v}.", [(e["symbol"], e["name"]) for e in elements],
                 "the element with the symbol {x}|the element with the chemical symbol {x}|the element {x} stands for|the name of the element {x}",
                 "Which element has the symbol {x}?|What element is {x}?|What does {x} stand for in chemistry?|Which element is written as {x}?|{x} is the symbol of which element?|What element does {x} stand for?|Which element has the chemical symbol {x}?|Which element do the letters {x} stand for?|In chemistry, {x} is what?|{x} belongs to which element?|Which element does {x} abbreviate?|The symbol {x} is for which element?|In the periodic table {x} stands for what?",
                 "the element that chemists write as {x}|the element abbreviated {x}",
                 "For which element does {x} stand?|In the periodic table, which element is {x}?|To which element does the symbol {x} belong?"),
        relation("by_number", "atomic number", "The element with atomic number {x} is {v}.",
                 [(e["number"], e["name"]) for e in elements],
                 "the element with atomic number {x}|the element number {x}|element {x} of the periodic table|the element with {x} protons",
                 "Which element has atomic number {x}?|Which element has {x} protons?|What element is number {x}?|What is element number {x}?|Atomic number {x} belongs to which element?|What element has the atomic number {x}?|Which element stands at number {x}?|An atom with {x} protons is which element?|Which element do I find at number {x} in the periodic table?|What has {x} protons?|The atomic number {x} is which element?|Number {x} in the periodic table?",
                 "the element at number {x} in the periodic table|the element whose atomic number is {x}",
                 "Which element is at number {x} of the periodic table?|An atom has {x} protons. Which element is it?|To which element does atomic number {x} belong?"),
        relation("element_kind", "element", "{x} is {a} {v}.", field("kind"),
                 "the kind of element that {x} is|the class of the element {x}|the category of {x}|the group of elements {x} belongs to",
                 "What kind of element is {x}?|Which kind of element is {x}?|What type of element is {x}?|To which class of elements does {x} belong?|What sort of element is {x}?|What category is {x}?|{x} is what kind of element?|Which family of elements does {x} belong to?|Of what type is {x}?|In which category of elements is {x}?|What type is {x} in the periodic table?",
                 "the type of element {x} is|the family of elements to which {x} belongs",
                 "In the periodic table, what type is {x}?|{x} is which kind of element?|What category of element is {x} in?"),
    ]


def state_relations():
    states = list(common.US_STATES.items())
    return [
        relation("state_capital", "state", "The capital of {x} is {v}.", states,
                 "the capital of {x}|the state capital of {x}|{x}'s capital|the capital of the state of {x}|the capital city of {x}|{x}'s state capital",
                 "Which city is the capital of {x}?|Which city is the state capital of {x}?|What city is {x}'s capital?|Capital of {x}?|Where is the capital of {x}?|Which city governs {x}?|The capital of {x} is which city?|Name the town that is the capital of {x}.|Which city serves {x} as capital?|In {x}, which city is the capital?|{x}, capital?|What capital has the state of {x}?|Where does the state of {x} have its capital?",
                 "the name of {x}'s capital city|the capital that {x} has",
                 "Which city serves as the capital of {x}?|Which town is the capital in {x}?|{x}, capital city?|In the state of {x}, which city is the capital?"),
        relation("capital_of_state", "city", "{x} is the capital of {v}.", [(v, k) for k, v in states],
                 "the state whose capital is {x}|the state that has {x} as its capital|the US state {x} is the capital of",
                 "Which state has {x} as its capital?|{x} is the capital of which state?|Of which state is {x} the capital?|What state is {x} the capital of?|{x} is the capital city of what state?|Which state's capital is {x}?|{x} serves as capital of which state?|The capital {x} is in which state?|{x} belongs to which state as its capital?|What state is governed from {x}?|Which American state has {x} as its capital?|{x}, capital of which state?",
                 "the state with the capital {x}|the state governed from {x}",
                 "For which state is {x} the capital?|{x} is the capital city of which American state?|To which state does the capital {x} belong?"),
    ]


def word_relations(facts):
    return [
        relation("definition", "word", "{x}: {v}.", facts["definitions"].items(),
                 "the meaning of {x}|the definition of {x}|the meaning of the word {x}|a definition of {x}|a short definition of {x}|the definition of the word {x}",
                 "What does {x} mean?|Define {x}.|What is meant by {x}?|Define the word {x}.|Explain the word {x}.|What does the word {x} mean?|How would you define {x}?|What is {a} {x}?|What's {a} {x}?|Explain what {a} {x} is.|Can you define {x}?|Describe {a} {x}.|How does the dictionary explain {x}?|What should one understand by {x}?|Tell me in a few words what {a} {x} is.|Give the definition of {x}.|What do people mean by {x}?|In short, what is {a} {x}?|{x} means what?|What can you say about the word {x}?",
                 "what the word {x} means|the dictionary definition of {x}",
                 "How does a dictionary define {x}?|In a few words, what is {a} {x}?|What should I understand by the word {x}?|Give a definition for {x}."),
        relation("opposite", "word", "The opposite of {x} is {v}.", common.OPPOSITES.items(),
                 "the opposite of {x}|the antonym of {x}|the opposite of the word {x}|an antonym of {x}|a word that means the opposite of {x}",
                 "What word is the opposite of {x}?|Which word is the opposite of {x}?|What is {x} the opposite of?|Which word means the opposite of {x}?|Not {x} but what?|What is the contrary of {x}?|Which word has the opposite meaning to {x}?|If it is not {x}, then what?|{x} is the opposite of what?|What do you call something that is not {x}?|What is opposite to {x}?|Find the opposite word for {x}.",
                 "the word opposite to {x}|the contrary of {x}",
                 "Which word has the opposite meaning of {x}?|If something is not {x}, what is it?|{x} and its opposite: which word is that?"),
    ]


def small_relations():
    months, days, planets = common.MONTHS, common.WEEKDAYS, common.PLANETS
    cycle = lambda items, step: [(m, items[(i + step) % len(items)]) for i, m in enumerate(items)]
    nth = lambda items: [(common.ORDINALS[i], m) for i, m in enumerate(items)]
    one = lambda name, answer, pairs, phrases, questions, held: relation(name, "thing", answer, pairs, phrases, questions, "", held)
    return [
        one("month_days", "{x} has {v} days.", zip(months, common.MONTH_DAYS), "the number of days in {x}|the length of {x} in days",
            "How many days does {x} have?|How many days are in {x}?|How many days are there in {x}?|How long is {x}?|Days in {x}?|{x} lasts how many days?|How many days long is {x}?|For how long does {x} last?|Count the days in {x}.", "For how many days does {x} last?|{x} has how many days?"),
        one("next_month", "The month after {x} is {v}.", cycle(months, 1), "the month after {x}|the month following {x}|the month that comes after {x}",
            "Which month comes after {x}?|Which month follows {x}?|What comes after {x}?|What month comes next after {x}?|Which month begins after {x}?|After {x} comes which month?|When {x} is over, what month is next?|{x} is followed by which month?", "After {x}, which month begins?|Once {x} is over, which month is it?"),
        one("previous_month", "The month before {x} is {v}.", cycle(months, -1), "the month before {x}|the month that comes before {x}",
            "Which month comes before {x}?|What comes before {x}?|What month is before {x}?|Before {x} comes which month?|{x} follows which month?|Just before {x} we have which month?|{x} comes right after which month?", "Just before {x}, which month is it?|{x} comes after which month?"),
        one("nth_month", "The {x} month is {v}.", nth(months), "the {x} month|the {x} month of the year",
            "Which month is the {x} of the year?|What is the {x} month of the year?|Which month is the {x}?|In the calendar, what is the {x} month?|Which is the {x} month in the calendar?|What month is the {x} one?", "In the calendar, which month is the {x}?"),
        one("next_day", "The day after {x} is {v}.", cycle(days, 1), "the day after {x}|the day following {x}|the day that comes after {x}",
            "Which day comes after {x}?|Which day follows {x}?|What comes after {x}?|Today is {x}. What day is tomorrow?|If today is {x}, what day is tomorrow?|After {x} comes which day?|Which day of the week comes after {x}?|{x} is followed by which day?|When {x} is over, what day is it?", "After {x}, which day is it?|Which day of the week follows on {x}?"),
        one("previous_day", "The day before {x} is {v}.", cycle(days, -1), "the day before {x}|the day that comes before {x}",
            "Which day comes before {x}?|What comes before {x}?|Today is {x}. What day was yesterday?|If today is {x}, what day was yesterday?|Before {x} comes which day?|Just before {x} comes what day?|{x} follows which day?|Which weekday is right before {x}?", "Just before {x}, which day is it?"),
        one("planet", "The {x} planet from the sun is {v}.", nth(planets), "the {x} planet|the {x} planet from the sun|the {x} planet of the solar system",
            "Which planet is the {x} from the sun?|What is the {x} planet of the solar system?|Which planet is {x}?|Counted from the sun, what is the {x} planet?|Which is the {x} planet seen from the sun?|Name the {x} planet from the sun.|In the solar system, which planet is {x}?", "Counted from the sun, which planet is the {x}?"),
        one("young", "A young {x} is called a {v}.", common.ANIMAL_YOUNG.items(), "the name of a baby {x}|the word for a young {x}|the young of a {x}",
            "What is a baby {x} called?|What do you call a young {x}?|What is the young of a {x} called?|How is a young {x} called?|What is a young {x}?|What name do people give to a baby {x}?|The baby of a {x} is called what?|How do you call the baby of a {x}?|Which name has a young {x}?", "What name does a baby {x} have?|How do people call the baby of a {x}?"),
        one("sound", "A {x} {v}.", common.ANIMAL_SOUNDS.items(), "the sound of a {x}|the sound a {x} makes|the noise a {x} makes",
            "What sound does a {x} make?|What noise does a {x} make?|How does a {x} sound?|Which sound does a {x} make?|What can you hear from a {x}?|Describe the sound of a {x}.|What does a {x} do to make noise?|How do you call the sound of a {x}?", "What do you hear from a {x}?|How do you describe the sound of a {x}?"),
        one("legs", "A {x} has {v} legs.", common.ANIMAL_LEGS.items(), "the number of legs of a {x}|the number of legs a {x} has",
            "How many legs does a {x} have?|How many legs has a {x}?|On how many legs does a {x} walk?|How many legs do you count on a {x}?|Count the legs of a {x}.|A {x} walks on how many legs?|What number of legs has a {x}?", "A {x} has how many legs?|Count the legs of a {x}: how many?"),
        one("sides", "A {x} has {v} sides.", common.SHAPE_SIDES.items(), "the number of sides of a {x}|the number of sides a {x} has",
            "How many sides does a {x} have?|How many sides has a {x}?|How many corners does a {x} have?|How many edges are on a {x}?|Count the sides of a {x}.|What number of edges has a {x}?|A {x} has what number of sides?|How many edges has a {x}?", "A {x} has how many sides?|How many edges does a {x} have?"),
        one("count", "There are {v} {x}.", common.COUNTS.items(), "the number of {x}|how many {x} there are",
            "How many {x} are there?|How many {x}?|There are how many {x}?|What number of {x} is there?|Tell me how many {x} there are.|Count the {x}.|How many {x} can one count?|Do you know how many {x} there are?", "How many are there: {x}?|Count the {x}: how many?"),
        one("roman", "The Roman numeral {x} is {v}.", common.ROMAN.items(), "the value of the Roman numeral {x}|the Roman numeral {x} as a number",
            "What number is the Roman numeral {x}?|Which number is {x} in Roman numerals?|How much is the Roman numeral {x}?|What does {x} mean as a Roman numeral?|In Roman numerals {x} is what?|The Roman numeral {x} stands for which number?|What number does {x} stand for in Roman numerals?|Read the Roman numeral {x}.", "In Roman numerals, what does {x} stand for?|The Roman numeral {x} is which number?"),
        one("mixed", "{x} make {v}.", [(f"{a} and {b}", c) for (a, b), c in common.MIXED_COLOURS.items()] + [(f"{b} and {a}", c) for (a, b), c in common.MIXED_COLOURS.items()],
            "the colour made of {x}|the mixture of {x}", "What colour do you get by mixing {x}?|What do {x} make?|Which colour do {x} make?|I mix {x}. Which colour is it?|If I mix {x}, which colour do I get?|What colour do I see when I mix {x}?|Paint in {x} is mixed. Which colour comes out?|Mix {x}: which colour?", "If I mix {x} paint, which colour do I see?"),
    ]


def all_relations(facts):
    return (country_relations(facts["countries"]) + element_relations(facts["elements"]) + state_relations()
            + word_relations(facts) + small_relations())


STOP_WORDS = set("the of is what which a an does do in to me for are".split())


class Noise:
    """Small disturbances of a wording that leave its meaning: training needs them so that an unknown word is not taken for
    the subject of a question. Placeholders are never touched."""

    def __init__(self, facts):
        self.words = facts["common_words"]
        self.sentences = [e for e in facts["examples"] if "{" not in e and "}" not in e and not e.endswith("?")]

    def fill(self, rng, text):
        word = rng.choice(self.words)
        return text.replace("{w}", word).replace("{W}", capitalise(word)).replace("{n}", rng.choice(common.NAMES))

    def disturb(self, rng, text, strength=1.0):
        words = text.split(" ")
        plain = [i for i, w in enumerate(words) if "{" not in w]
        pick = rng.random() / strength
        if pick < 0.12:
            words.insert(rng.randrange(len(words)), rng.choice(self.words))
        elif pick < 0.18 and len(plain) > 2:
            gone = [i for i in plain if words[i].lower() in STOP_WORDS]
            if gone:
                words.pop(rng.choice(gone))
        elif pick < 0.22 and plain:
            i = rng.choice(plain)
            if words[i].lower() in STOP_WORDS:
                words[i] = rng.choice(self.words)
        text = " ".join(words)
        pick = rng.random() / strength
        if pick < 0.06:
            text = capitalise(rng.choice(self.sentences)).rstrip(".!") + ". " + capitalise(text)
        elif pick < 0.12:
            text = rng.choice(["Hi. ", "Hello. ", "OK. ", "Please: ", "Hey, ", "Now: ", "So, ", "Listen. ", "I have a question. ", "Excuse me. ", "Dear model, ", "Good evening. "]) + text
        elif pick < 0.16:
            text += rng.choice([" Thanks.", " Thank you!", " I need it now.", " It is for my {w}.", " Be quick.", " Please.", " I forgot it.", " Help me."])
        return self.fill(rng, text)


def phrase_question(rng, rel, subject, held=False, noise=None):
    """One question about `subject`; with held, only wording that training never uses (a phrase or carrier at least)."""
    def fill(text):
        return text.replace("{a}", article(subject)).replace("{x}", subject)

    disturb = (lambda text, strength=1.0: noise.disturb(rng, text, strength)) if noise else (lambda text, strength=1.0: text)
    whole = rel.held_questions if held else rel.questions
    if whole and rng.random() < 0.5:
        return capitalise(fill(disturb(rng.choice(whole))))
    phrase = fill(rng.choice(rel.phrases if not held or not rel.held_phrases or rng.random() < 0.7 else rel.held_phrases))
    carrier = disturb(rng.choice(HELD_CARRIERS if held else CARRIERS))
    return capitalise(carrier.replace("{np}", phrase).replace("{Np}", capitalise(phrase)))
