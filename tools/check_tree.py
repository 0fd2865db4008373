#!/usr/bin/env python3
"""The laws of the house, checked on the source tree; the first test of the suite.

They are guard rails of taste: if one stands in the way of a better design, change it here in the same commit
and say why. Standard library only. Usage: tools/check_tree.py [ROOT]; prints one line per finding, exit 1.
"""
import ast
import re
import sys
from pathlib import Path

MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 80

# What a folder of src/ may include, besides itself.
BELOW_WAIST = {"base", "tensor", "weights", "ops"}
INCLUDES = {
    "base": set(),
    "tensor": {"base"},
    "weights": {"base", "tensor"},
    "ops": {"base", "tensor", "weights"},
    "backend": BELOW_WAIST,
    "model": BELOW_WAIST,
    "processor": {"base", "tensor"},
    "engine": BELOW_WAIST | {"model"},
    "compress": BELOW_WAIST | {"model"},
    "serve": BELOW_WAIST | {"model", "engine", "processor"},
    "app": BELOW_WAIST | {"backend", "model", "processor", "engine", "compress", "serve"},
}
# Single headers that cross the table: the engine meets the processor in one plain struct.
INCLUDE_EXCEPTIONS = {("engine", "processor/prompt.h")}
# The server knows no tensor: of the model's side it sees the engine alone.
FORBIDDEN_IN_SERVE = {"tensor", "weights", "ops"}

CODE = {".cpp", ".h", ".cu", ".cuh", ".py", ".sh", ".cmake"}
CPP = {".cpp", ".h", ".cu", ".cuh"}
SKIPPED_FOLDERS = {".git", ".venv", "build", "__pycache__", ".cache"}
# Tables that a script writes: length is no sign of a lack of order in them.
GENERATED = re.compile(r"//\s*(?:@generated|Generated)\b.*\btools/\S+\.py")

CONTROL = {"if", "for", "while", "switch", "catch", "do", "else", "try", "return"}
TYPE_SCOPE = re.compile(r"\b(namespace|class|struct|union|enum|extern)\b")
MEMBER_INITIALIZER = re.compile(r"\)[^;]*:[^;]*[\w>]$", re.S)
BAD_NAME = re.compile(r"\b(?!is_)\w+_(?:v[2-9]|old|new)\b")  # is_new(x) is a question, not a generation
BACKEND_CONDITION = re.compile(
    r"^\s*#\s*(?:if|ifdef|ifndef|elif)\b.*\b(?:SHEAF_CUDA\w*|SHEAF_CPU\w*|__CUDA\w*|__NVCC__|__AVX\w*|__AMX\w*|__FMA__|__SSE\w*|__ARM\w*)")
HOST_ONLY_HEADERS = {"map", "unordered_map", "vector", "string", "thread", "mutex", "fstream", "iostream", "set"}


class Findings:
    def __init__(self, root):
        self.root = root
        self.lines = []

    def add(self, path, line, text):
        self.lines.append(f"{path.relative_to(self.root)}:{line}: {text}")


RAW_STRING = re.compile(r'R"([^()\\\s]{0,16})\(.*?\)\1"', re.S)
LITERAL_OR_COMMENT = re.compile(
    r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])+'""", re.S)


def code_only(text):
    """The text with comments and literals blanked, line numbers kept."""

    def blank(match):
        found = match.group(0)
        if found[0] == "'" and re.fullmatch(r"'\d+(?:\d{3}')*", found):
            return found  # a digit separator
        inner = "".join("\n" if c == "\n" else " " for c in found[1:-1])
        return '"' + inner + '"' if found[0] in "\"R" else " " + inner + " "

    text = RAW_STRING.sub(blank, text)
    text = re.sub(r"(?<=[0-9a-fA-F])'(?=[0-9a-fA-F])", "_", text)  # digit separators are no literals
    return LITERAL_OR_COMMENT.sub(blank, text)


def is_function_head(head):
    """Whether `head`, the text between the last ; { } and a {, opens a function's body."""
    if "(" not in head:
        return False
    words = re.findall(r"[A-Za-z_]\w*", head)
    if not words or words[0] in CONTROL:
        return False
    before_parenthesis = head.split("(", 1)[0]
    if TYPE_SCOPE.search(before_parenthesis) and "operator" not in head:
        # "struct Foo bar(" is a function; "class alignas(64) Foo {" is not. Ours never return elaborated types.
        return not re.match(r"\s*(?:template\s*<.*>\s*)?(?:namespace|class|struct|union|enum|extern)\b", head, re.S)
    return "=" not in before_parenthesis or "operator" in before_parenthesis


def long_functions(text):
    """(line, lines) of every function of a C++ file over the limit, by matching braces."""
    code = code_only(text)
    code = re.sub(r"^[ \t]*#(?:.*\\\n)*.*$", lambda m: "\n" * m.group(0).count("\n"), code, flags=re.M)
    found = []
    stack = []  # (is function, line of its head)
    head_start, line = 0, 1
    depth_of_parentheses = 0
    in_function = 0
    for i, c in enumerate(code):
        if c == "\n":
            line += 1
        elif c == "(":
            depth_of_parentheses += 1
        elif c == ")":
            depth_of_parentheses -= 1
        elif c == "{":
            head = code[head_start:i]
            if not in_function and MEMBER_INITIALIZER.search(head):
                stack.append((None, line))  # "A() : b{1} {": the head goes on behind it
                continue
            function = not in_function and depth_of_parentheses == 0 and is_function_head(head)
            stack.append((function, line - head.strip().count("\n")))
            in_function += function
            head_start = i + 1
        elif c == "}":
            function, first = stack.pop() if stack else (False, line)
            if function is None:
                continue
            in_function -= function
            if function and line - first + 1 > MAX_FUNCTION_LINES:
                found.append((first, line - first + 1))
            head_start = i + 1
        elif c == ";" and depth_of_parentheses == 0:
            head_start = i + 1
    return found


def check_length(findings, path, text):
    lines = text.count("\n") + (not text.endswith("\n"))
    generated = any(GENERATED.search(line) for line in text.splitlines()[:3])
    if lines > MAX_FILE_LINES and not generated:
        findings.add(path, MAX_FILE_LINES + 1, f"{lines} lines; a file has at most {MAX_FILE_LINES}")
    if path.suffix in CPP:
        functions = long_functions(text)
    elif path.suffix == ".py":
        functions = [(node.lineno, node.end_lineno - node.lineno + 1) for node in ast.walk(ast.parse(text))
                     if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    else:
        functions = []
    for line, count in functions:
        if count > MAX_FUNCTION_LINES:
            findings.add(path, line, f"function of {count} lines; at most {MAX_FUNCTION_LINES}")


def check_names(findings, path, text):
    if re.search(r"_(?:v[2-9]|old|new)$", path.stem):
        findings.add(path, 1, "file name ends in _v2, _old or _new: name what it is")
    if path.suffix not in CPP:
        return
    for number, line in enumerate(code_only(text).splitlines(), 1):
        for match in BAD_NAME.finditer(line):
            findings.add(path, number, f"name '{match.group(0)}': name what it is, not when it was written")


def check_includes(findings, path, folder, text):
    if path.stem.endswith("_test"):
        return  # a test may look anywhere; what it links is for CMake to say
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if not match:
            continue
        header = match.group(1)
        target = header.split("/")[0]
        if target not in INCLUDES:
            findings.add(path, number, f'include "{header}" from src/: "folder/file.h"')
        elif target != folder and target not in INCLUDES[folder] and (folder, header) not in INCLUDE_EXCEPTIONS:
            findings.add(path, number, f"{folder} must not include {header}")
        elif folder == "serve" and target in FORBIDDEN_IN_SERVE:
            findings.add(path, number, f"the server knows no tensor: {header}")
        elif folder == "backend" and "/cuda/" not in path.as_posix() and "backend/cuda/" in header \
                and not path.stem.startswith("registry"):
            findings.add(path, number, f"only the registry and the CUDA back end see {header}")


def check_header(findings, path, text):
    paragraph = []
    for line in text.splitlines():
        if not line.startswith("//"):
            break
        paragraph.append(line.lstrip("/ "))
    if len(" ".join(paragraph)) < 80:
        findings.add(path, 1, "a header opens with a paragraph: what it is, who uses it, what it must not know")


def check_source(findings, path, text):
    """Laws about what the code in src/ says."""
    relative = path.relative_to(findings.root / "src").as_posix()
    folder = relative.split("/")[0]
    check_includes(findings, path, folder, text)
    if path.suffix == ".h":
        check_header(findings, path, text)
    code = code_only(text)
    test = path.stem.endswith("_test")
    for number, line in enumerate(code.splitlines(), 1):
        if re.search(r"\b(?:getenv|secure_getenv|environ)\b", line) and not relative.startswith("app/options") and not test:
            findings.add(path, number, "only app/options reads the environment")
        if re.search(r"\bargv\b", line) and not relative.startswith(("app/options", "app/main.cpp")) and not test:
            findings.add(path, number, "only app/options reads the command line")
        if folder != "backend" and BACKEND_CONDITION.match(line):
            findings.add(path, number, "a back-end condition outside backend/: make it an implementation of the interface")
        if path.suffix in {".cu", ".cuh"}:
            include = re.match(r"\s*#\s*include\s+<(\w+)>", line)
            if include and include.group(1) in HOST_ONLY_HEADERS:
                findings.add(path, number, f"<{include.group(1)}> in device code: decisions live in .cpp")
    if path.suffix in {".cu", ".cuh"} and not relative.startswith("backend/cuda/"):
        findings.add(path, 1, "device code lives in backend/cuda")
    if relative == "ops/ops.h":
        for match in re.finditer(r"[(,]\s*(?:const\s+)?bool\b", code):
            findings.add(path, code.count("\n", 0, match.start()) + 1, "a boolean parameter in ops.h: make it two operators or an enum")
    if re.search(r"std::w?regex\b|#\s*include\s+<regex>", code):
        findings.add(path, 1, "std::regex has no bound on depth or time; write the automaton")


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent).resolve()
    findings = Findings(root)
    files = 0
    for top in ("src", "tests", "bench", "tools", "cmake"):
        for path in sorted((root / top).rglob("*")):
            if path.suffix not in CODE or not path.is_file() \
                    or SKIPPED_FOLDERS & set(path.relative_to(root).parts):
                continue
            files += 1
            text = path.read_text(encoding="utf-8")
            check_length(findings, path, text)
            check_names(findings, path, text)
            if top == "src":
                check_source(findings, path, text)
    for folder in sorted(p.name for p in (root / "src").glob("*") if p.is_dir()):
        if folder not in INCLUDES:
            findings.lines.append(f"src/{folder}: a folder the include table does not know")
    if not files:
        findings.lines.append(f"{root}: no source files here")
    print("\n".join(findings.lines) if findings.lines else f"{files} files keep the laws")
    return 1 if findings.lines else 0


if __name__ == "__main__":
    sys.exit(main())
