"""docs/cli.md is what the option tables say."""
import unittest

from sheaf_cli import ROOT, sheaf


class Docs(unittest.TestCase):
    def test_cli_page_is_up_to_date(self):
        process = sheaf("help", "--markdown")
        self.assertEqual(process.returncode, 0, process.stderr)
        written = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
        self.assertTrue(written == process.stdout, "write it anew: sheaf help --markdown > docs/cli.md")


if __name__ == "__main__":
    unittest.main()
