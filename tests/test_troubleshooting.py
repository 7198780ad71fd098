"""Each message that docs/troubleshooting.md quotes is one that the program has: a string of its source, filled in."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
BLOCKS = re.findall(r"^```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
MESSAGES = [message for block in BLOCKS for message in block.splitlines()]
LITERAL = 14  # characters that a message must have in common with the source, at least
PLACE = r"(motrix-train: )?([^:]+: )?"  # what a message may begin with


def templates() -> list[re.Pattern[str]]:
    """Every string in the source that is long enough to be a message, with any text where a value is filled in."""
    found = []
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = node.values
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                parts = [node]
            else:
                continue
            texts = [str(part.value) if isinstance(part, ast.Constant) else None for part in parts]
            if sum(len(text or "") for text in texts) >= LITERAL:
                pattern = "".join(".*" if text is None else re.escape(text) for text in texts)
                found.append(re.compile(PLACE + pattern))
    return found


TEMPLATES = templates()


def test_the_page_quotes_many_messages():
    assert len(MESSAGES) > 30
    assert len(set(MESSAGES)) == len(MESSAGES)


@pytest.mark.parametrize("message", MESSAGES)
def test_a_quoted_message_is_one_of_the_program(message):
    assert any(template.fullmatch(message) for template in TEMPLATES)


def test_a_message_that_there_is_not_is_found_out():
    assert "runs/mine has its 1,024 env steps: give more, as in --max-env-steps 2048" in PAGE
    for message in ("runs/mine has its 1,024 steps: give more, as in --max-env-steps 2048", "the robot is: tired"):
        assert not any(template.fullmatch(message) for template in TEMPLATES)
