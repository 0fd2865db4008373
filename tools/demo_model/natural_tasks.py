"""Made-up tools asked for in plain sentences: parameters stand behind prepositions or before their unit ("for 3 hours", "in row 4",
"as editor") instead of behind their label. Training only; used by tool_tasks.py.
"""

from request_frames import IMPERATIVE, OPENINGS, TAILS, capital

UNITS = "copies|pages|hours|days|minutes|seconds|pieces|people|times|steps|points|rows|items|guests|tickets|weeks|months|lines|rounds|liters|meters|boxes|cups|users|votes|miles|nights|slices|photos|samples".split("|")
PLACES = "row|room|floor|column|lane|shelf|table|gate|page|line|slot|seat|group|team|zone|track|channel|level|step|door|aisle|box|folder|district|section|hall|area|project|version|branch|queue|list|region|cluster|category".split("|")
MEASURES = "reading|price|weight|value|score|temperature|speed|amount|size|depth|distance|height|width|length|cost|budget|limit|threshold|rate|duration|voltage|pressure|discount|fee".split("|")
CHOICES = ["viewer,editor,admin", "json,xml,csv", "draft,final", "left,right,center", "fast,slow", "north,south,east,west", "daily,weekly,monthly", "pdf,png,svg", "public,private", "info,warning,error", "mild,medium,hot", "new,used",
           "morning,noon,evening", "email,phone,post", "cash,card", "owner,member,guest", "easy,normal,hard", "wood,metal,glass", "ascending,descending", "monday,friday,sunday"]
CHOICE_NAMES = "role|type|mode|format|kind|status|style|level|method|category|frequency|side|state".split("|")

# kind of extra: (parameter names, schema type, kind of value, ways to say it; {n} the name as words, {v} the value)
EXTRAS = [
    (UNITS, "integer", "int:1:90", "for {v} {n}|{v} {n}|with {v} {n}|, {v} {n}|({v} {n})|over {v} {n}|and {v} {n}|, {n}: {v}"),
    (UNITS, "integer", "int:1:90", "for {v} {n}|with {v} {n}|using {v} {n}|, exactly {v} {n}|in {v} {n}"),
    (PLACES, "integer", "int:1:200", "in {n} {v}|on {n} {v}|at {n} {v}|to {n} {v}|from {n} {v}|, {n} {v}|into {n} {v}|near {n} {v}"),
    (PLACES, "string", "word", "in {n} {v}|in the {n} {v}|on the {n} {v}|to the {n} {v}|from the {n} {v}|into the {v} {n}|in the {v} {n}|of {n} {v}|at the {n} \"{v}\"|for the {n} {v}"),
    ("recipient|user|person|assignee|to|owner|customer|contact|member|player|employee".split("|"), "string", "name", "to {v}|for {v}|by {v}|with {v}|and give it to {v}|on behalf of {v}|for the {n} {v}|to the {n} {v}|from {v}"),
    ("at|time|start|start_time|when|hour".split("|"), "string", "clock", "at {v}|for {v}|from {v} on|, {v}|starting at {v}|around {v}|before {v}"),
    ("on|date|day|due_date|deadline|when".split("|"), "string", "date", "on {v}|for {v}|until {v}|by {v}|, {v}|before {v}|starting {v}"),
    ("output|target|destination|archive|file|path|filename|save_as".split("|"), "string", "path", "into {v}|to {v}|as {v}|in {v}|under {v}|and save it as {v}|using {v}|from {v}|, file {v}"),
    ("reason|note|comment|message|text|title|subject|label|description".split("|"), "string", "phrase", "for \"{v}\"|because of {v}|with the {n} {v}|with the {n} \"{v}\"|, {n} \"{v}\"|and write \"{v}\"|due to {v}|saying \"{v}\"|titled \"{v}\"|, {n}: {v}|, called '{v}'|, {n} '{v}'"),
    (MEASURES, "number", "amount", "with a {n} of {v}|at a {n} of {v}|, {n} {v}|with {n} {v}|whose {n} is {v}|at {v}|up to {v}|to {v}|with the {n} {v}"),
    ("city|location|place|town|destination".split("|"), "string", "city", "in {v}|near {v}|to {v}|from {v}|at {v}|over in {v}|for {v}|around {v}"),
    ("email|address|to|recipient".split("|"), "string", "email", "to {v}|for {v}|and mail it to {v}|from {v}|, {v}|using {v}"),
    ("language|locale|lang".split("|"), "string", "language", "in {v}|into {v}|from {v}|written in {v}|, {v}"),
    ("color|colour|shade".split("|"), "string", "enum:red,green,blue,black,white,yellow,pink,brown,grey,orange", "in {v}|, {v}|painted {v}|with the {n} {v}|and make it {v}"),
]
MAIN = [("word", "{verb} the {noun} {v}|{verb} {noun} {v}|{verb} the {v} {noun}|{verb} a {noun} called {v}|{verb} the {noun} named {v}|{verb} {v}|{verb} a {noun} with the name {v}|{verb} the {noun} \"{v}\"|{verb} the {noun} '{v}'|{verb} our {noun} {v}|{verb} the {v}|{verb} a {v}|{verb} my {v} {noun}"),
        ("slug", "{verb} the {noun} {v}|{verb} {noun} {v}|{verb} the {v} {noun}|{verb} a {noun} called {v}|{verb} {v}|{verb} the {noun} \"{v}\"|{verb} `{v}`"),
        ("path", "{verb} the {noun} {v}|{verb} {noun} {v}|{verb} {v}|{verb} the {noun} at {v}|{verb} my {v}|{verb} the {noun} in {v}|{verb} \"{v}\""),
        ("tracking", "{verb} the {noun} {v}|{verb} {noun} {v}|{verb} {v}|{verb} {noun} number {v}|{verb} the {noun} with the code {v}|{verb} #{v}"),
        ("name", "{verb} {v}|{verb} the {noun} {v}|{verb} {noun} {v}|{verb} the {noun} of {v}|{verb} {v}'s {noun}|{verb} the {noun} called {v}"),
        ("title", "{verb} the {noun} {v}|{verb} \"{v}\"|{verb} {v}|{verb} the {noun} \"{v}\"|{verb} the {noun} titled {v}|{verb} a {noun} called \"{v}\"|{verb} the {noun} '{v}'"),
        ("phrase", "{verb} the {noun} \"{v}\"|{verb} \"{v}\"|{verb} a {noun} that says \"{v}\"|{verb} the {noun}: {v}|{verb} a {noun} about {v}|{verb} '{v}'"),
        ("int:1:99999", "{verb} {noun} {v}|{verb} the {noun} {v}|{verb} {noun} number {v}|{verb} {noun} no. {v}|{verb} the {noun} with id {v}|{verb} {noun} #{v}|{verb} the {noun} with the number {v}"),
        ("city", "{verb} the {noun} in {v}|{verb} {v}|{verb} the {noun} of {v}|{verb} the {v} {noun}|{verb} a {noun} for {v}")]
WHEN = "today|tomorrow morning|this afternoon|this week|last week|next month|for the third time|again|now|right now|by now|on the way|this morning|yesterday|at last|at home".split("|")


def past(verb):
    return verb + ("d" if verb.endswith("e") else "ed") if not verb.endswith("y") or verb[-2] in "aeiou" else verb[:-1] + "ied"


def natural(tasks, rng):
    """One task of a made-up tool; `tasks` is the ToolTasks that makes values, names and schemas."""
    verb, noun = tasks.verb_and_noun(rng, False)
    kind, ways = rng.choice(MAIN)
    text, value = tasks.value(rng, kind, False)
    used, params, texts = set(), [], {}
    ids = ["id", "number", f"{noun}_id", f"{noun}_number", noun, "no"]
    key = rng.choice(ids if kind in ("tracking",) or kind[:3] == "int" else [noun, "name", f"{noun}_name", "target", "title", "item", "object", "which"]) if rng.random() < 0.85 else tasks.odd_name(rng, used)
    used.add(key)
    params.append((key, "integer" if kind[:3] == "int" else "string", f"The {noun}" if rng.random() < 0.4 else f"Which {noun} to {verb}" if rng.random() < 0.4 else None, True))
    arguments, texts[key] = {key: value}, text
    way = rng.choice(ways.split("|"))
    if "'{v}'" in way and "'" in text:
        way = way.replace("'{v}'", '"{v}"')
    whole = way.format(verb=verb, noun=noun, v=text)
    if kind[:3] != "int" and rng.random() < 0.15:  # print 3 copies of plan.txt
        unit, (count, number) = rng.choice(UNITS), tasks.value(rng, "int:1:60", False)
        ways = "{verb} {c} {u} of {v}|{verb} {c} {u} of the {noun} {v}|{verb} {c} {u} from {v}|{verb} {c} {u} of {noun} {v}|{verb} exactly {c} {u} of {v}|take {c} {u} of {v} and {verb} them"
        whole = rng.choice(ways.split("|")).format(verb=verb, noun=noun, v=text, c=count, u=unit)
        unit = unit if rng.random() < 0.75 else tasks.odd_name(rng, used)
        used.add(unit)
        params.append((unit, "integer", "How many" if rng.random() < 0.5 else None, rng.random() < 0.5))
        arguments[unit], texts[unit] = number, count
    passive = ""
    if len(params) == 1 and rng.random() < 0.2 and kind in ("word", "slug", "tracking", "title", "name", "path"):
        who = rng.choice(["The {noun} {v}", "The {v} {noun}", "The {noun} called {v}", "{Noun} {v}", "Our {noun} {v}", "My {noun} {v}", "This {noun}, {v},"]).format(noun=noun, Noun=capital(noun), v=text)
        must = rng.choice([" should be ", " must be ", " has to be ", " needs to be ", " can be ", " is to be ", " was not ", " wants to be ", " still has to be ", " ought to be ", " is not yet "])
        passive = who + must + past(verb)
    core = passive or whole
    for names, schema, value_kind, forms in rng.sample(EXTRAS, rng.choice([0, 1, 1, 1, 2, 2])):
        label = rng.choice([n for n in names if n not in used])
        if label in ("to", "at", "on") and rng.random() < 0.5 or label == noun:
            continue
        name = label if rng.random() < 0.8 else tasks.odd_name(rng, used)
        used.update((name, label))
        shown, argument = tasks.value(rng, value_kind, False)
        form = rng.choice(forms.split("|"))
        if "'{v}'" in form and "'" in shown:
            form = form.replace("'{v}'", '"{v}"')
        said = form.format(n=label.replace("_", " "), v=shown)
        core += said if said[0] == "," else " " + said
        texts[name], arguments[name] = shown, argument
        schema_kind = value_kind if value_kind.startswith("enum:") else schema
        params.append((name, schema_kind, f"The {label.replace('_', ' ')}" if name != label or rng.random() < 0.5 else None, rng.random() < 0.6))
    if rng.random() < 0.25:  # a choice
        options = rng.choice(CHOICES)
        label = rng.choice([n for n in CHOICE_NAMES if n not in used])
        pick = rng.choice(options.split(","))
        used.add(label)
        core += " " + rng.choice(["as {v}", "as {v}", "with {n} {v}", "({v})", "in {v} {n}", "and make it {v}", "using {v}"]).format(v=pick, n=label)
        texts[label], arguments[label] = pick, pick
        params.append((label, "enum:" + options, None if rng.random() < 0.5 else f"The {label}", rng.random() < 0.5))
    if rng.random() < 0.25:  # something optional that nobody mentions
        params.append((tasks.odd_name(rng, used) if rng.random() < 0.4 else next(n for n in ("verbose", "dry_run", "force") if n not in used), "boolean", None, False))
    order = list(range(len(params)))
    rng.random() < 0.4 and rng.shuffle(order)
    params = [params[i] for i in order]
    wrap = "{C}." if passive else rng.choice(IMPERATIVE) if rng.random() < 0.7 else rng.choice(["{C}.", "{C}", "Please {c}."])
    request = wrap.replace("{c}", core).replace("{C}", capital(core)).replace("{n}", "Sam")
    if rng.random() < 0.2:
        end = request[-1] if request[-1] in ".?!" else ""
        tail = " " + rng.choice(WHEN) if rng.random() < 0.5 else rng.choice(TAILS).replace("{n}", "Tina")
        request = request[:len(request) - len(end)] + tail.rstrip("?") + end
    if rng.random() < 0.06:
        start = rng.choice([o for o in OPENINGS if o[-2] in ".!"])
        request = start + capital(request)
    about = rng.choice([f"{capital(verb)} a {noun}", f"{capital(verb)} the {noun}", f"Use this to {verb} a {noun}", f"{capital(verb)}s one {noun}", f"{capital(verb)} a {noun} of the user"])
    name = tasks.function_name(rng, verb, noun) if rng.random() < 0.9 else tasks.odd_name(rng, set())
    known = {p[0] for p in params}
    return {"family": None, "name": name, "schema": tasks.schema(name, about, params), "request": request, "arguments": {p[0]: arguments[p[0]] for p in params if p[0] in arguments and p[0] in known},
            "texts": texts, "noun": noun, "verb": verb, "order": list(arguments)}
