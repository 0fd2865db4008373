"""Each law of tools/check_tree.py catches what it is for."""
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from sheaf_cli import ROOT

HEADER = "// A header that says what it is, who uses it and what it must not know, in a paragraph\n// of two lines.\n#pragma once\n"


class Laws(unittest.TestCase):
    def findings(self, files):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                path = Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            process = subprocess.run([sys.executable, ROOT / "tools/check_tree.py", folder], capture_output=True, text=True)
            self.assertEqual(process.returncode, 1 if "keep the laws" not in process.stdout else 0)
            return process.stdout

    def assert_kept(self, name, text):
        self.assertIn("keep the laws", self.findings({name: text}))

    def assert_broken(self, name, text, words):
        self.assertIn(words, self.findings({name: text}))

    def test_the_tree_keeps_them(self):
        process = subprocess.run([sys.executable, ROOT / "tools/check_tree.py"], capture_output=True, text=True)
        self.assertEqual(process.returncode, 0, process.stdout)

    def test_includes(self):
        self.assert_kept("src/model/a.cpp", '#include "ops/ops.h"\n')
        self.assert_broken("src/model/a.cpp", '#include "backend/registry.h"\n', "model must not include backend/registry.h")
        self.assert_broken("src/tensor/a.cpp", '#include "weights/x.h"\n', "tensor must not include")
        self.assert_broken("src/engine/a.cpp", '#include "processor/tokenizer.h"\n', "engine must not include")
        self.assert_kept("src/engine/a.cpp", '#include "processor/prompt.h"\n')
        self.assert_broken("src/serve/a.cpp", '#include "tensor/tensor.h"\n', "knows no tensor")
        self.assert_broken("src/serve/a.cpp", '#include "backend/registry.h"\n', "serve must not include")
        self.assert_broken("src/base/a.cpp", '#include "error.h"\n', 'from src/')
        self.assert_kept("src/app/a.cpp", '#include "backend/registry.h"\n')

    def test_lengths(self):
        self.assert_kept("src/base/a.cpp", "int x;\n" * 600)
        self.assert_broken("src/base/a.cpp", "int x;\n" * 601, "601 lines")
        body = "    x();\n"
        self.assert_kept("src/base/a.cpp", "void f(int a,\n       int b) {\n" + body * 77 + "}\n")
        self.assert_broken("src/base/a.cpp", "void f(int a,\n       int b) {\n" + body * 78 + "}\n", "function of 81 lines")
        self.assert_broken("src/base/a.cpp", "struct A {\n    A() : b{1} {\n" + body * 79 + "    }\n};\n", "function of 81 lines")
        self.assert_kept("src/base/a.cpp", "const char* table[] = {\n" + '    "{",\n' * 200 + "};\n")
        self.assert_kept("src/base/a.cpp", "namespace a {\nclass B {\n" + "    int c(int d) { return d; }\n" * 100 + "};\n}\n")
        self.assert_broken("tools/a.py", "def f():\n" + "    x()\n" * 80, "function of 81 lines")

    def test_environment_and_arguments(self):
        self.assert_broken("src/base/a.cpp", 'auto x = std::getenv("X");\n', "only app/options reads the environment")
        self.assert_broken("src/app/serve.cpp", 'auto x = std::getenv("X");\n', "only app/options reads the environment")
        self.assert_kept("src/app/options_environment.cpp", 'auto x = std::getenv("X");\n')
        self.assert_broken("src/engine/a.cpp", "int f(char** argv);\n", "command line")
        self.assert_kept("src/base/a.cpp", '// std::getenv is for options\nconst char* x = "getenv";\n')

    def test_back_ends(self):
        self.assert_broken("src/engine/a.cpp", "#ifdef SHEAF_CUDA\n#endif\n", "back-end condition")
        self.assert_broken("src/ops/a.cpp", "#if defined(__AVX512F__)\n#endif\n", "back-end condition")
        self.assert_kept("src/backend/cpu/a.cpp", "#if defined(__AVX512F__)\n#endif\n")
        self.assert_broken("src/model/a.cu", "__global__ void f();\n", "device code lives in backend/cuda")
        self.assert_broken("src/backend/cuda/a.cu", "#include <map>\n", "decisions live in .cpp")

    def test_the_waist_has_no_switches(self):
        self.assert_broken("src/ops/ops.h", HEADER + "void f(int a, bool fast);\n", "boolean parameter")
        self.assert_kept("src/ops/ops.h", HEADER + "bool f(int a);\n")

    def test_names(self):
        self.assert_broken("src/base/a.cpp", "int parse_v2();\n", "parse_v2")
        self.assert_broken("src/base/a_old.cpp", "int x;\n", "file name")
        self.assert_kept("src/base/a.cpp", 'const char* format = "gptq_v2";\nint max_new_tokens;\n')

    def test_headers_open_with_a_paragraph(self):
        self.assert_kept("src/base/a.h", HEADER)
        self.assert_broken("src/base/a.h", "#pragma once\n", "opens with a paragraph")
        self.assert_broken("src/base/a.h", "// Too short.\n#pragma once\n", "opens with a paragraph")

    def test_an_empty_tree_is_no_success(self):
        self.assertIn("no source files", self.findings({"src/readme.txt": ""}))


if __name__ == "__main__":
    unittest.main()
