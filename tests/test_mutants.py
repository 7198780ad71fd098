"""The defects of `mutants.py` still fit the code, and a few of them are caught; `nox -s mutants` tries all."""

import pytest
from mutants import MUTANTS, PAGE, Mutant, changed, run

TRIED = (
    "the time limit is one step too late",
    "a weight is read twice",
    "a reward falls with the distance, not with its square",
    "a field reaches SKRL under the name of another",
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_it_changes_one_place(mutant: Mutant):
    compile(changed(mutant), mutant.file, "exec")


@pytest.mark.parametrize("name", TRIED)
def test_it_is_caught(name: str):
    [mutant] = [mutant for mutant in MUTANTS if mutant.name == name]
    assert run(mutant) is not None


def test_the_page_shows_all_and_says_that_all_were_caught():
    page = PAGE.read_text("utf-8")
    assert [line.split(" | ")[0][2:] for line in page.splitlines() if line.startswith("| ") and "`" in line] == [
        mutant.name for mutant in MUTANTS
    ]
    assert "**none**" not in page
