"""Small random templates, from a grammar that covers the whole dialect, with the variables to render them.

Left out on purpose: whole numbers beyond 64 bits (errors here), filters without a fixed result (random) or that chat
templates have no use for (pprint, striptags, urlize, wordwrap), and float sums (compensated in newer Pythons).
"""

STRINGS = ["", "a", "abc", "Hello World", "  pad ", "a,b,,c", "x\ny\n\nz", "é", "Straße ΑΣ", "日本語", "😀!", "3", "-4.5", "0x1f", "1_000", "True",
           "a<b>&'\"", "%s-%d", "{}-{x}", "tab\tend", "a.b", "key", "ÀÉ İı", "aXbXc", "\u00a0nb\u2028sp"]
NUMBERS = ["0", "1", "2", "3", "-1", "-7", "10", "255", "0.0", "1.5", "-2.5", "3.0", "1e3", "2.675", "0x1F", "1_0"]
NAMES = ["s", "t", "n", "i", "f", "b", "z", "l", "m", "d", "e", "q", "users", "nope", "fn", "a", "x", "y"]
ATTRIBUTES = ["a", "b", "name", "age", "key", "items", "keys", "x", "missing", "tags", "append", "upper", "0"]
TEXT_FILTERS = [
    "capitalize", "center(12)", "e", "escape", "forceescape", "indent", "indent(2, true)", "indent('> ', blank=true)", "indent(width=3, first=true)", "lower", "replace('a', 'b')", "replace('a', 'Z', 1)", "replace('', '-')", "safe",
    "string", "title", "trim", "trim('a ')", "truncate(7)", "truncate(5, true, '…')", "truncate(9, end='..', leeway=0)", "upper", "urlencode", "reverse", "default('D', true)", "d(boolean=true)", "format(1)", "first", "last", "list", "length", "wordcount",
]
TO_TEXT_FILTERS = ["tojson", "string", "tojson", "e", "safe", "tojson(indent=2)", "tojson(separators=(',', ':'))", "tojson(ensure_ascii=true)", "default(s, true)", "tojson(sort_keys=true)"]
SEQUENCE_FILTERS = [
    "list", "list", "reverse|list", "sort", "sort(reverse=true)", "sort(case_sensitive=true)", "unique|list", "unique(case_sensitive=true)|list", "batch(2)|list", "batch(2, '-')|list", "slice(3)|list", "slice(3, 'F')|list",
    "map('string')|list", "map('upper')|list", "map('int', default=3)|list", "map('tojson')|list", "map('default', 'Q')|list", "map('replace', 'a', 'b')|list", "map('length')|list", "select|list", "select('string')|list", "select('odd')|list", "reject('none')|list",
    "select('number')|select('>', 1)|list", "select('integer')|list", "reject('string')|map('string')|list", "map(attribute='a')|list", "map(attribute=0)|list", "map(attribute='0', default='?')|list", "select('in', [1, 2, 'a'])|list",
    "groupby(0)|list", "select('mapping')|list", "tojson", "string", "join", "first", "last", "length", "map('first')|list", "map('list')|list",
]
USER_FILTERS = [
    "map(attribute='name')|list", "map(attribute='a.b')|list", "map(attribute='a.b.1')|list", "map(attribute='age', default=7)|list", "selectattr('age')|list", "selectattr('age', '>', 20)|list", "selectattr('name', 'equalto', 'Ann')|map(attribute='age')|list",
    "selectattr('a', 'defined')|list", "rejectattr('tags')|list", "rejectattr('name', 'in', ['Ann'])|list", "sort(attribute='age')", "sort(attribute='name,age')", "sort(attribute='name', case_sensitive=true)", "groupby('age')", "groupby('name')", "groupby('name', case_sensitive=true)",
    "groupby('nope', default='?')", "join(', ', attribute='name')", "sum(attribute='age')", "max(attribute='age')", "min(attribute='name')", "unique(attribute='name')|list", "batch(2)|map('first')|map(attribute='name')|list", "map('items')|map('list')|list", "tojson", "first", "last",
]
TESTS = ["defined", "undefined", "none", "boolean", "true", "false", "integer", "float", "number", "string", "mapping", "sequence", "iterable", "callable", "odd", "even",
         "lower", "upper", "escaped", "filter", "test", "divisibleby(3)", "divisibleby 2", "sameas(none)", "sameas true", "eq(1)", "eq 'a'", "ne(2)", "lt 3", "gt(1)", "le 2", "ge(0)",
         "in([1, 'a'])", "in s", "equalto 3", "greaterthan(0)", "lessthan 9"]
TEXT_METHODS = [
    "upper()", "lower()", "strip()", "lstrip()", "rstrip('c ')", "split()", "split(',')", "split(',', 1)", "rsplit(',', 1)", "split('X', maxsplit=1)", "splitlines()", "splitlines(true)",
    "replace('a', 'b')", "replace('', '-')", "replace('b', '', 1)", "startswith('a')", "endswith(('c', 'd'))", "startswith('b', 1)", "find('b')", "rfind('b')", "find('l', 3, 9)", "count('a')", "count('')",
    "title()", "capitalize()", "swapcase()", "casefold()", "isdigit()", "isalpha()", "isalnum()", "isspace()", "isupper()", "islower()", "istitle()", "isnumeric()", "isdecimal()", "isascii()", "isidentifier()", "isprintable()",
    "center(9, '*')", "center(8)", "ljust(6)", "rjust(6, '.')", "zfill(5)", "join(['p', 'q'])", "join(m)", "partition(',')", "rpartition('b')", "removeprefix('a')", "removesuffix('c')", "expandtabs(4)", "index('a')", "rindex('')",
]
LOOP_VALUES = ["loop.index", "loop.index0", "loop.first", "loop.last", "loop.length", "loop.revindex", "loop.revindex0", "loop.previtem", "loop.nextitem", "loop.cycle('o', 'e')",
               "loop.changed(x)", "loop.depth", "loop.depth0", "loop.changed(loop.index // 2)", "loop", "loop.nope", "loop.previtem is defined", "loop.nextitem|default('end')"]


class TemplateMaker:
    def __init__(self, random):
        self.random = random
        self.in_loop = False
        self.names = list(NAMES)
        self.macros = []

    def chance(self, probability):
        return self.random.random() < probability

    def pick(self, values):
        return self.random.choice(values)

    # Variables of the render.
    def variables(self):
        users = [{"name": "Ann", "age": 31, "tags": ["a", "B"]}, {"name": "bob", "age": 5, "tags": []}, {"name": "Ann", "age": 19, "a": {"b": [1, 2]}}]
        values = {
            "s": self.pick(STRINGS), "t": self.pick(STRINGS), "n": None, "i": self.pick([0, 1, 2, 7, -3]), "f": self.pick([0.0, 1.0, 2.5, -0.1, 1e15]), "b": self.pick([True, False]),
            "z": 0, "l": self.pick([[], [1, 2, 3], ["b", "A", "a"], [3, 1.0, True], [[1, 2], [3, 4]], [None, "x"]]), "m": self.pick([["p", "q"], ["a"], []]),
            "d": self.pick([{}, {"a": 1, "b": {"x": [1, 2]}}, {"b": 2, "A": 1, "c": 3}, {"items": 5, "get": 1, "key": "v"}]), "e": {}, "users": users, "q": self.pick([1, "q", [1], {"a": 1}]),
        }
        return {k: v for k, v in values.items() if self.chance(0.95)}

    # Expressions. Mostly of the kind that is wanted, so that most templates get to their end.
    def string(self):
        text = self.pick(STRINGS)
        quote = self.pick("'\"")
        out = text.replace("\\", "\\\\").replace(quote, "\\" + quote)
        if self.chance(0.5):
            out = out.replace("\n", "\\n")
        if self.chance(0.1):
            out += self.pick(["\\x41", "\\u00e9", "\\t", "\\\\", "\\101", "\\d", "\\U0001F600"])
        return quote + out + quote

    def wild(self, depth):
        """Any kind at all, sometimes."""
        return self.chance(0.04 if depth > 0 else 0.08)

    def expression(self, depth=0):
        return self.pick([self.text, self.text, self.text, self.number, self.sequence, self.truth, self.mapping, self.other])(depth + 1)

    def inner(self, make, depth):
        """A part of a larger expression: in parentheses unless it is simple."""
        out = self.expression(depth) if self.wild(depth) else make(depth)
        return out if out.isidentifier() or out[0] in "'[{" and self.chance(0.5) else f"({out})"

    def text(self, depth=1):
        if depth > 3 or self.chance(0.2):
            return self.pick([self.string, self.string, lambda: self.pick(["s", "t"])])()
        inner = lambda: self.inner(self.text, depth + 1)
        if self.macros and self.chance(0.1):
            return self.call(depth)
        kind = self.random.randint(0, 11)
        if kind == 0:
            return f"{inner()} + {inner()}"
        if kind == 1:
            return " ~ ".join(self.inner(self.expression, depth + 1) for _ in range(self.random.randint(2, 3)))
        if kind == 2:
            # A slice of a constant that is no sequence is undefined in jinja2, which folds it, and an error if it is not constant.
            return f"{self.pick(['s', 't', self.string(), f'({inner()}|string)'])}{self.bounds()}"
        if kind == 3:
            return f"{inner()} * {self.pick(['0', '1', '2', 'i', '-1'])}"
        if kind == 4:
            return self.pick([f"'%s:%5.2f' % (s, {self.number(depth + 1)})", f"'%d|%-4s|%03d' % ({self.number(3)}, s, i)", f"'{{}}-{{}}'.format({self.expression(depth + 1)}, s)",
                              f"'{{:>6}}|{{x:<4}}'.format(s, x=i)", f"'%s' % {inner()}", f"'%(a)s' % d", f"'{{0[a]}}{{1!r}}'.format(d, {inner()})", f"'{{:,.2f}}'.format({self.number(3)})"])
        if kind == 5:
            return f"{self.inner(self.sequence, depth + 1)}|join{self.pick(['', '(s)', '(chr)'])}".replace("chr", self.string())
        if kind == 6:
            return f"{self.inner(self.expression, depth + 1)}|{self.pick(TO_TEXT_FILTERS)}"
        if kind <= 8:
            return f"{inner()}|{self.pick(TEXT_FILTERS)}"
        return f"{inner()}.{self.pick(TEXT_METHODS)}"

    def bounds(self):
        start, stop = (self.pick(["", "", "0", "1", "-1", "2", "-3", "i", "100"]) for _ in range(2))
        return self.pick([f"[{start}:{stop}]", f"[{start}:{stop}{self.pick([':', ':1', ':2', ':-1', ':-2'])}]"])

    def number(self, depth=1):
        if depth > 3 or self.chance(0.3):
            return self.pick([lambda: self.pick(NUMBERS), lambda: self.pick(["i", "f", "z", "b"])])()
        inner = lambda: self.inner(self.number, depth + 1)
        kind = self.random.randint(0, 6)
        if kind <= 1:
            return f"{inner()} {self.pick(['+', '-', '*', '+', '-'])} {inner()}"
        if kind == 2:
            return f"{inner()} {self.pick(['/', '//', '%'])} {self.pick(['2', '3', '-2', '1.5', '-0.5', '7', 'i', 'z'])}"
        if kind == 3:
            return f"{self.pick(['2', '-2', '1.5', '3', 'i'])} ** {self.pick(['0', '2', '3', '-1'])}"
        if kind == 4:
            return f"{inner()}|{self.pick(['abs', 'int', 'float', 'round', 'round(1)', 'round(2)', 'round(0, chr)', 'round(1, chr)'])}".replace("chr", self.pick(["'ceil'", "'floor'", "'common'"]))
        if kind == 5:
            return f"{self.inner(self.pick([self.text, self.sequence, self.mapping]), depth + 1)}|{self.pick(['length', 'count'])}"
        return self.pick([f"{self.inner(self.text, depth + 1)}.{self.pick(['count(s)', 'find(t)', 'rfind(chr)', 'count(chr)', 'find(chr, 1)'])}".replace("chr", self.pick(["'a'", "'b'", "''", "' '"])),
                          f"{self.inner(self.text, depth + 1)}|{self.pick(['int', 'int(7)', 'float', 'float(0.5)', 'int(0, 16)', 'int(base=8)', 'wordcount'])}", f"-{inner()}", f"+{inner()}", "l|sum if l == [1, 2, 3] else 0"])

    def truth(self, depth=1):
        if depth > 3 or self.chance(0.1):
            return self.pick(["true", "false", "b", "none is none"])
        kind = self.random.randint(0, 9)
        if kind <= 1:
            same = self.pick([self.number, self.text])
            chain = [self.inner(same, depth + 1)]
            for _ in range(self.pick([1, 1, 1, 2])):
                chain += [self.pick(["<", "<=", ">", ">=", "==", "!="]), self.inner(same, depth + 1)]
            return " ".join(chain)
        if kind == 2:
            return f"{self.inner(self.expression, depth + 1)} {self.pick(['==', '!='])} {self.inner(self.expression, depth + 1)}"
        if kind == 3:
            return f"{self.inner(self.text, depth + 1)} {self.pick(['in', 'not in'])} {self.inner(self.pick([self.text, self.sequence, self.mapping]), depth + 1)}"
        if kind <= 5:
            return f"{self.inner(self.truth, depth + 1)} {self.pick(['and', 'or'])} {self.inner(self.truth, depth + 1)}"
        if kind == 6:
            return f"not {self.inner(self.expression, depth + 1)}"
        test = self.pick(TESTS)
        subject = self.number if test.split("(")[0].split()[0] in ("odd", "even", "divisibleby", "lt", "gt", "le", "ge", "greaterthan", "lessthan") else self.expression
        return f"{self.inner(subject, depth + 1)} is {'not ' if self.chance(0.25) else ''}{test}"

    def sequence(self, depth=1):
        if depth > 3 or self.chance(0.3):
            return self.pick(["l", "m", "[]", "[1, 'a', none]", "(1, 2)", "('x',)", "range(4)", "range(1, 9, 3)", "range(5, 0, -2)", "[3, 1, 2]", "['b', 'A', 'c']", "[[1], {'k': 'v'}]", "users", "()"])
        inner = lambda: self.inner(self.sequence, depth + 1)
        kind = self.random.randint(0, 7)
        if kind == 0:
            return "[" + ", ".join(self.expression(depth + 1) for _ in range(self.random.randint(0, 3))) + "]"
        if kind == 1:
            return f"{inner()}|list + {self.pick(['[1]', 'm', 'l'])}"
        if kind == 2:
            return f"{self.pick(['l', 'm', 'users', f'({inner()}|list)'])}{self.bounds()}"
        if kind == 3:
            return f"{self.inner(self.text, depth + 1)}.{self.pick(['split()', 'splitlines()', 'split(chr)', 'rsplit(chr, 1)', 'partition(chr)', 'split(chr, 1)', 'split(maxsplit=1)', 'splitlines(true)'])}".replace("chr", self.pick(["','", "'a'", "' '", "'X'"]))
        if kind == 4:
            return f"users|{self.pick(USER_FILTERS)}"
        if kind == 5:
            return f"{self.inner(self.mapping, depth + 1)}{self.pick(['|dictsort', '|items|list', '.items()|list', '.keys()|list', '.values()|list', '|list', '|dictsort(reverse=true)', '.items()', '|dictsort(true)'])}"
        return f"{inner()}|{self.pick(SEQUENCE_FILTERS)}"

    def mapping(self, depth=1):
        if depth > 3 or self.chance(0.5):
            return self.pick(["d", "e", "{}", "{'a': 1, 2: [3]}", "{1: 'i', 1.0: 'f', true: 'b'}", "dict(a=1, b='c')", "users[0]", "dict(d, k=1)", "dict([['a', 1]])"])
        return "{" + ", ".join(f"{self.string()}: {self.expression(depth + 1)}" for _ in range(self.random.randint(0, 3))) + "}"

    def other(self, depth=1):
        """Attributes, items, conditions, names that may not be there."""
        inner = lambda: self.inner(self.expression, depth + 1)
        kind = self.random.randint(0, 8)
        if kind == 0:
            return f"{self.inner(self.mapping, depth + 1)}.{self.pick(ATTRIBUTES)}"
        if kind == 1:
            return f"{self.inner(self.pick([self.text, self.sequence]), depth + 1)}[{self.pick(['0', '1', '-1', 'i', '99', 'b'])}]"
        if kind == 2:
            return f"{self.inner(self.mapping, depth + 1)}[{self.inner(self.expression, depth + 1)}]"
        if kind == 3:
            return f"({inner()} if {self.inner(self.truth, depth + 1)}" + (f" else {inner()})" if self.chance(0.7) else ")")
        if kind == 4:
            return self.pick(NAMES)
        if kind == 5:
            return f"{self.pick(NAMES)}|default({inner()})"
        if kind == 6:
            return f"{self.inner(self.mapping, depth + 1)}.{self.pick(['get(chr)', 'get(chr, 5)', 'get(s)', 'get(chr, {}).get(chr)'])}".replace("chr", self.string())
        if kind == 7:
            return self.call(depth)
        return self.pick([f"{inner()}.{self.pick(TEXT_METHODS)}", f"{inner()}|{self.pick(TEXT_FILTERS + SEQUENCE_FILTERS)}", f"{inner()}.{self.pick(ATTRIBUTES)}", f"{self.inner(self.sequence, depth + 1)}|{self.pick(['first', 'last', 'max', 'min'])}",
                          f"{inner()} + {inner()}", f"{inner()} < {inner()}", f"{inner()}[{inner()}]", f"{inner()}|{self.pick(['attr(chr)', 'format(s, i)', 'filesizeformat', 'xmlattr', 'urlencode', 'list', 'sum', 'reverse'])}".replace("chr", self.string())])

    def call(self, depth):
        if self.macros and self.chance(0.8):
            name, count = self.pick(self.macros)
            arguments = [self.expression(depth + 1) for _ in range(self.random.randint(0, count + (1 if self.chance(0.1) else 0)))]
            if self.chance(0.2):
                arguments.append(f"{self.pick(['a', 'x', 'k'])}={self.expression(depth + 1)}")
            return f"{name}({', '.join(arguments)})"
        return self.pick(["range(3)|list", "dict([['a', 1]], b=2)", "namespace(a=1).a", "cycler(1, 2).next()", "joiner('|')()", "nope()", "s()", "raise_exception('stop ' ~ i)", "range(2, 3)", "dict(d, k=1)"])

    # Statements.
    def tag(self, inner):
        left = self.pick(["{%", "{%", "{%-", "{%-", "{%+"])
        right = self.pick(["%}", "%}", "-%}", "-%}", "+%}"])
        return f"{left} {inner} {right}"

    def output(self):
        left, right = self.pick(["{{", "{{-"]), self.pick(["}}", "-}}"])
        value = self.pick(LOOP_VALUES) if self.in_loop and self.chance(0.35) else self.expression()
        return f"{left} {value} {right}"

    def data(self):
        return self.pick(["text", " ", "\n", "\n  ", "  \n", "a\n\n  b", "{ x }", "<p>", "\t", "é\u3000", "# no\n", "end", ":", "|"])

    def body(self, depth):
        return "".join(self.statement(depth) for _ in range(self.random.randint(1, 3)))

    def statement(self, depth=0):
        if depth > 2 or self.chance(0.5):
            return self.pick([self.output, self.output, self.data, self.assign])()
        makers = [self.conditional_block, self.conditional_block, self.loop, self.loop, self.loop, self.set_block, self.filter_block, self.macro, self.with_block, self.call_block, self.comment, self.raw,
                  self.namespace, self.generation]
        return self.pick(makers)(depth + 1)

    def target(self):
        return self.pick(["a", "x", "y", "s", "l", "i"])

    def assign(self):
        if self.chance(0.12):
            return self.tag(f"set {self.target()}, {self.target()} = {self.pick(['1, 2', '(s, t)', 'i, f', '[s, l]', self.expression(2)])}")
        return self.tag(f"set {self.target()} = {self.expression(1)}")

    def conditional_block(self, depth):
        out = self.tag(f"if {self.expression(1)}") + self.body(depth)
        while self.chance(0.3):
            out += self.tag(f"elif {self.expression(1)}") + self.body(depth)
        if self.chance(0.5):
            out += self.tag("else") + self.body(depth)
        return out + self.tag("endif")

    def loop(self, depth):
        source = self.pick(["l", "m", "users", "range(3)", "d", "d.items()", "d|items", "s", "[1, 2, 3, 4]", "nope", "range(5)", "users|selectattr('age')", "[[1, 2], [3, 4]]", "d|dictsort", "'abc'", "l[::-1]", self.sequence(2)])
        target = self.pick(["x", "x", "x", "x", "i"])
        if source in ("d.items()", "d|items", "d|dictsort", "[[1, 2], [3, 4]]") or self.chance(0.03):
            target = self.pick(["x, y", "a, y", "(x, y)", "x"])
        out = self.tag(f"for {target} in {source}" + (f" if {self.expression(2)}" if self.chance(0.2) else ""))
        outer, self.in_loop = self.in_loop, True
        out += self.body(depth)
        if self.chance(0.2):
            out += self.tag(f"if {self.pick(['x == 2', 'loop.index > 1', self.expression(2)])}") + self.tag(self.pick(["break", "continue"])) + self.tag("endif")
            out += self.pick(["", self.output()])
        self.in_loop = outer
        if self.chance(0.25):
            out += self.tag("else") + self.body(depth)
        return out + self.tag("endfor")

    def set_block(self, depth):
        return self.tag(f"set {self.target()}{self.pick(['', '', ' | upper', ' | trim', '|length'])}") + self.body(depth) + self.tag("endset")

    def filter_block(self, depth):
        return self.tag(f"filter {self.pick(['upper', 'trim', 'indent(2)', 'replace(t, s)', 'title|trim', 'lower', 'escape', 'default(x)'])}") + self.body(depth) + self.tag("endfilter")

    def macro(self, depth):
        name = self.pick(["fn", "g", "h"])
        parameters = self.pick([[], ["a"], ["a", "x=1"], ["a", "k=s"], ["x", "y=x", "k='K'"], ["a=nope"]])
        body = self.body(depth) + self.pick(["", "", "{{ caller() }}", "{{ kwargs }}", "{{ varargs }}", "{{ caller is defined }}", "{{ varargs|length }}{{ kwargs|length }}", "{{ caller(1) }}"])
        outer, self.in_loop = self.in_loop, False
        out = self.tag(f"macro {name}({', '.join(parameters)})") + body + self.tag("endmacro")
        self.in_loop = outer
        self.macros.append((name, len(parameters)))
        return out

    def call_block(self, depth):
        if not self.macros:
            return self.macro(depth)
        name, count = self.pick(self.macros)
        return self.tag(f"call{self.pick(['', '', '(x)', '(a, y=2)'])} {name}({', '.join(self.expression(3) for _ in range(count))})") + self.body(depth) + self.tag("endcall")

    def with_block(self, depth):
        return self.tag(f"with {self.pick(['x = ' + self.expression(2), 'a = 1, y = x', 's = s ~ 1', ''])}") + self.body(depth) + self.tag("endwith")

    def comment(self, depth):
        return self.pick(["{# note #}", "{#- {{ x }} -#}", "  {# multi\nline #}\n", "{#+ #}"])

    def raw(self, depth):
        return self.pick(["{% raw %}{{ x }}{% endraw %}", "{%- raw -%} {% if %} {%- endraw -%}", "  {% raw %}\n{# #}\n  {% endraw %}\n"])

    def namespace(self, depth):
        return self.tag("set ns = namespace(v=0, w=s)") + self.body(depth) + self.tag(f"set ns.v = {self.expression(2)}") + "{{ ns.v }}" + self.pick(["", "{{ ns['w'] }}", "{{ ns.nope }}"])

    def generation(self, depth):
        outer, self.in_loop = self.in_loop, False
        out = self.tag("generation") + self.body(depth) + self.tag("endgeneration")
        self.in_loop = outer
        return out

    def template(self):
        out = "".join(self.statement() for _ in range(self.random.randint(1, 4)))
        return out + self.pick(["", "", "\n", "\n\n", " "])
