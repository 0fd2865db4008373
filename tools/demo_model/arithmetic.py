"""Arithmetic with numbers up to two digits: questions, worked thoughts and answers; a tenth of the pairs is never trained."""

import zlib

QUESTIONS = {
    "+": "What is {a} and {b} together?|If I add {a} and {b}, what do I get?|{a} plus {b} is what?|{a} plus {b} equals|Work out the sum of {a} and {b}.|I put {a} and {b} together. How much is it?|What is the total of {a} and {b}?|{n} has {a} {w}s and finds {b} more. How many {w}s does {n} have?|{n} has {a} {w}s and gets {b} {w}s. How many are there now?|A {w} costs {a} dollars and another costs {b}. What do both cost?|{a} people and {b} people: how many people?|I walk {a} steps, then {b} steps. How many steps is that?|What is {a} + {b}?|{a} + {b}|{a}+{b}|{a} + {b} = ?|{a}+{b}=?|Add {a} and {b}.|What is {a} plus {b}?|Calculate {a} + {b}.|How much is {a} + {b}?|Compute {a} plus {b}.|What is the sum of {a} and {b}?|Please add {a} and {b}.|{a} plus {b}|How much is {a} plus {b}?|Can you add {a} and {b}?|Work out {a} + {b}.|I have {a} apples and get {b} more. How many apples do I have?|There are {a} birds. {b} more come. How many birds are there?|Solve {a} + {b}.|What does {a} + {b} make?|Add {b} to {a}.|A box holds {a} red balls and {b} blue balls. How many balls are in it?|Tell me {a} + {b}.",
    "-": "If I subtract {b} from {a}, what do I get?|{a} minus {b} is what?|{a} minus {b} equals|Work out the difference of {a} and {b}.|I take {b} away from {a}. How much is left?|How much is left of {a} without {b}?|{n} has {a} {w}s and loses {b}. How many {w}s are left?|{n} had {a} {w}s and gave away {b}. How many {w}s remain?|There were {a} {w}s and {b} broke. How many are left?|I have {a} dollars and pay {b}. How much is left?|By how much is {a} more than {b}?|What is {a} - {b}?|{a} - {b}|{a}-{b}|{a} - {b} = ?|{a}-{b}=?|Subtract {b} from {a}.|What is {a} minus {b}?|Calculate {a} - {b}.|How much is {a} - {b}?|Compute {a} minus {b}.|What is the difference between {a} and {b}?|Take {b} from {a}.|{a} minus {b}|How much is {a} minus {b}?|Can you subtract {b} from {a}?|Work out {a} - {b}.|I have {a} apples and eat {b}. How many are left?|There are {a} birds. {b} fly away. How many are left?|Solve {a} - {b}.|What does {a} - {b} make?|Tell me {a} - {b}.",
    "*": "If I multiply {a} by {b}, what do I get?|{a} times {b} is what?|{a} times {b} equals|Work out the product of {a} and {b}.|What is {a} multiplied by {b}?|{a} multiplied by {b}|There are {a} {w}s with {b} {v}s each. How many {v}s are there?|{n} has {a} boxes with {b} {w}s in each. How many {w}s is that?|{a} rows of {b} {w}s: how many {w}s?|Each of {a} {w}s costs {b} dollars. What do all cost?|I buy {a} bags with {b} {w}s each. How many {w}s do I have?|What is {a} * {b}?|{a} * {b}|{a}*{b}|{a} x {b}|{a} * {b} = ?|{a} x {b} = ?|Multiply {a} by {b}.|What is {a} times {b}?|Calculate {a} * {b}.|How much is {a} x {b}?|Compute {a} times {b}.|What is the product of {a} and {b}?|Multiply {a} and {b}.|{a} times {b}|How much is {a} times {b}?|Can you multiply {a} by {b}?|Work out {a} * {b}.|There are {a} boxes with {b} balls each. How many balls are there?|Solve {a} * {b}.|What does {a} x {b} make?|Tell me {a} times {b}.",
    "/": "If I divide {a} by {b}, what do I get?|{a} divided by {b} is what?|{a} divided by {b} equals|Work out {a} divided by {b}.|What is {a} over {b}?|{a} {w}s are shared by {b} people. How many does each get?|{n} shares {a} {w}s among {b} friends. How many does each get?|I split {a} into {b} equal parts. How big is one?|How often does {b} go into {a}?|{a} {w}s go into {b} boxes equally. How many are in each?|What is {a} / {b}?|{a} / {b}|{a}/{b}|{a} / {b} = ?|Divide {a} by {b}.|What is {a} divided by {b}?|Calculate {a} / {b}.|How much is {a} / {b}?|Compute {a} divided by {b}.|{a} divided by {b}|How much is {a} divided by {b}?|Can you divide {a} by {b}?|Work out {a} / {b}.|{a} sweets are shared by {b} children. How many does each get?|Solve {a} / {b}.|Tell me {a} divided by {b}."}
HELD_QUESTIONS = {
    "+": "What do I get when I add {a} and {b}?|{a} plus {b} equals what?|If I put {a} and {b} together, how much is that?|Could you work out the sum of {a} and {b} for me?|Tom has {a} coins and finds {b} more. How many coins does Tom have?",
    "-": "What do I get when I subtract {b} from {a}?|{a} minus {b} equals what?|If I take {b} away from {a}, how much is left?|Could you work out the difference of {a} and {b} for me?|Tom has {a} coins and loses {b}. How many coins are left?",
    "*": "What do I get when I multiply {a} by {b}?|{a} times {b} equals what?|Could you work out the product of {a} and {b} for me?|There are {a} shelves with {b} books each. How many books are there?",
    "/": "What do I get when I divide {a} by {b}?|{a} divided by {b} equals what?|Could you work out {a} divided by {b} for me?|{a} coins are shared by {b} people. How many does each get?"}
TOO_LARGE = "I don't know. That is too large for me to calculate."


def is_held(op, a, b):
    return zlib.crc32(f"{op}{a},{b}".encode()) % 10 == 0


def pair(rng, held):
    while True:
        op = rng.choices("+-*/", [35, 30, 22, 13])[0]
        top = 9 if rng.random() < 0.15 else 99
        a, b = rng.randint(0, top), rng.randint(0, top)
        if op == "-" and a < b:
            a, b = b, a
        if op == "*":
            a, b = (rng.randint(0, 12), rng.randint(0, 12)) if rng.random() < 0.65 else (rng.randint(13, 99), rng.randint(2, 9))
        if op == "/":
            b = rng.randint(1, 12)
            a = b * rng.randint(0, 12)
        if op in "*/" or is_held(op, a, b) == held:  # tables are learnt whole, sums and differences by rule
            return op, a, b


def value(op, a, b):
    return {"+": a + b, "-": a - b, "*": a * b, "/": a // b if b else 0}[op]


def working(op, a, b):
    if op == "+" and a > 9 and b > 9:
        ones, carry = (a % 10 + b % 10) % 10, (a % 10 + b % 10) // 10
        tens = f"{a // 10} + {b // 10}" + (" + 1" if carry else "") + f" = {a // 10 + b // 10 + carry}"
        return f"Ones: {a % 10} + {b % 10} = {a % 10 + b % 10}, so {ones}{', carry 1' if carry else ''}. Tens: {tens}."
    if op == "-" and a > 9 and b > 9:
        if a % 10 >= b % 10:
            return f"Ones: {a % 10} - {b % 10} = {a % 10 - b % 10}. Tens: {a // 10} - {b // 10} = {a // 10 - b // 10}."
        return f"Ones: 1{a % 10} - {b % 10} = {a % 10 + 10 - b % 10}, borrow 1. Tens: {a // 10} - {b // 10} - 1 = {a // 10 - b // 10 - 1}."
    if op == "*" and (a > 12 or b > 12):
        return f"{a // 10 * 10} * {b} = {a // 10 * 10 * b}. {a % 10} * {b} = {a % 10 * b}. {a // 10 * 10 * b} + {a % 10 * b} = {a * b}."
    return f"{a} {op} {b} = {value(op, a, b)}."


def sentence(op, a, b):
    """The answer; a product beyond the tables shows its steps, because it cannot be known by heart."""
    if op == "*" and a > 12:
        return working(op, a, b)[:-1].rpartition(". ")[0] + f". So {a} * {b} = {a * b}."
    return f"{a} {op} {b} = {value(op, a, b)}."


def question(rng, op, a, b, held, noise=None):
    text = rng.choice((HELD_QUESTIONS if held else QUESTIONS)[op].split("|"))
    if noise:
        text = text.replace("{v}", rng.choice(noise.words))
        text = noise.disturb(rng, text, 0.5) if " " in text else text
    return text.replace("{a}", str(a)).replace("{b}", str(b))


def too_large(rng, noise=None):
    op = rng.choice("+-*")
    low, high = rng.choice([(13, 99), (100, 999), (1000, 99999)]) if op == "*" else rng.choice([(100, 999), (1000, 99999)])
    a, b = rng.randint(low, high), rng.randint(low if op == "*" else 13, high)
    return question(rng, op, max(a, b), min(a, b), False, noise)
