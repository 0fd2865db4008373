"""Chat templates as Python's jinja2 renders them, in the environment that Hugging Face's apply_chat_template uses.

The truth that the C++ dialect is held against. Needs jinja2 >= 3.1 and nothing else.
"""

import datetime
import json

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox


class Generation(jinja2.ext.Extension):
    """{% generation %}: marks the assistant's text for training; in a prompt it is its body."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


class Raised(jinja2.exceptions.TemplateError):
    """What raise_exception() throws."""


def raise_exception(message):
    raise Raised(message)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def strftime_now(form):
    return datetime.datetime.now().strftime(form)


def make_environment():
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = strftime_now
    return environment


_ENVIRONMENT = make_environment()
_COMPILED = {}


def cut(text, size=200):
    """The longest prefix of whole characters in `size` bytes."""
    return text.encode()[:size].decode(errors="ignore")


def render(source, variables):
    """{"text"}, {"raised"} (the template's own words) or {"error"}."""
    try:
        if source not in _COMPILED:
            _COMPILED[source] = _ENVIRONMENT.from_string(source)
        return {"text": _COMPILED[source].render(**variables)}
    except Raised as error:
        return {"raised": cut(str(error))}
    except Exception as error:  # whatever Python throws: the C++ side has one kind of error
        return {"error": f"{type(error).__name__}: {error}"}


def chat_variables(case):
    """The variables that apply_chat_template gives a template."""
    return {
        "documents": None,
        **(case.get("kwargs") or {}),
        "messages": case["messages"],
        "tools": case.get("tools"),
        "add_generation_prompt": case.get("add_generation_prompt", False),
    }
