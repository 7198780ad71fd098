"""Writes the generated pages of docs/ from the live registry, and checks the links of every page.

`python docs/build.py` exits with 1 where a page was out of date (it is right now: commit it), a page or a picture
belongs to nothing or is missing, or a link leads nowhere.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from families import families, family_page, gallery_page, index_page
from learned import picture
from reference import api_page
from wording import attribute_docstrings, code, docstring, lines

from motrix_gym.registration import ENVS
from motrix_train import presets
from motrix_train.config import AlgorithmName, BaseRLCfg, PPOCfg, SACCfg, to_json

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs"
BACKENDS = ("torch", "jax")
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def main() -> int:
    """Writes what is out of date and returns the exit code."""
    problems = [f"{name} was out of date and is written anew" for name, text in pages().items() if _write(name, text)]
    problems += misfits()
    problems += dead_links(sorted([*ROOT.glob("*.md"), *PAGES.rglob("*.md")]))
    print("\n".join(problems) or "every page is up to date and every link leads somewhere")
    return 1 if problems else 0


def pages() -> dict[str, str]:
    """The generated pages by path below docs/."""
    written = {f"environments/{family}.md": family_page(family, envs) for family, envs in families().items()}
    written["environments/README.md"] = index_page()
    written["gallery.md"] = gallery_page()
    written["configuration.md"] = configuration_page()
    written["api.md"] = api_page()
    return written


def configuration_page() -> str:
    """Every field of a training configuration, and what each preset makes of it."""
    meanings, default = attribute_docstrings(PPOCfg), to_json(PPOCfg())
    meanings_of_sac, sac = attribute_docstrings(SACCfg), to_json(SACCfg())
    own = {name: value for name, value in sac.items() if name not in default or value != default[name]}
    return lines(
        "# The fields of a training configuration",
        "",
        docstring(BaseRLCfg)[0],
        "",
        "`motrix-train show ENV` prints the configuration of an environment, `--set FIELD=VALUE` changes it.",
        "[Presets](presets.md) says how to keep changes in a file, and how a package brings its own presets.",
        "",
        "| field | default | meaning |",
        "|---|---|---|",
        *(f"| `{name}` | {code(value)} | {meanings[name]} |" for name, value in default.items()),
        "",
        "## SAC",
        "",
        docstring(SACCfg)[0],
        "",
        "It has the fields above but those of PPO alone, these with other defaults, and more:",
        "",
        "| field | default | meaning |",
        "|---|---|---|",
        *(f"| `{name}` | {code(value)} | {meanings_of_sac[name]} |" for name, value in own.items()),
        "",
        "## Presets",
        "",
        "What differs from the defaults; a value of one backend alone is marked.",
        *(line for env_id in presets.preset_ids() for line in _preset(env_id, "ppo", default)),
        "",
        "## Presets of SAC",
        "",
        "What differs from the defaults of SAC. An id that is not here is trained with these.",
        *(line for env_id in presets.preset_ids("sac") for line in _preset(env_id, "sac", sac)),
    )


def misfits() -> list[str]:
    """What lies in docs/environments or docs/clips and belongs to nothing, and what is missing there."""
    drawn = {f"{family}.png": f"docs/pictures.py families {family}" for family in families()}
    shown = {picture(env.id, PAGES / "clips")[0]: f"docs/clips.py {env.id}" for env in ENVS}
    generated = {Path(name).name for name in pages()}
    return [
        *_misfits("environments", drawn, generated, "family of environments"),
        *_misfits("clips", shown, set(), "environment"),
    ]


def _misfits(folder: str, pictures: dict[str, str], others: set[str], owner: str) -> list[str]:
    """What is wrong in a folder that should have some pictures, each drawn by a script, and some other files."""
    there = {path.name for path in (PAGES / folder).iterdir()}
    return [
        *(
            f"docs/{folder}/{name} belongs to no {owner}: delete it"
            for name in sorted(there - pictures.keys() - others)
        ),
        *(
            f"docs/{folder}/{name} is missing: draw it with `python {script}`"
            for name, script in sorted(pictures.items())
            if name not in there
        ),
    ]


def dead_links(files: list[Path]) -> list[str]:
    """The relative links of Markdown files that lead to no file or no heading."""
    dead = []
    for file in files:
        for target in LINK.findall(FENCED.sub("", file.read_text(encoding="utf-8"))):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            there = (file.parent / path).resolve() if path else file
            if not there.exists() or (anchor and anchor not in _anchors(there)):
                dead.append(f"{file.relative_to(ROOT)}: the link {target} leads nowhere")
    return dead


def _write(name: str, text: str) -> bool:
    path = PAGES / name
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return True


def _preset(env_id: str, algorithm: AlgorithmName, default: dict[str, Any]) -> list[str]:
    values = {backend: to_json(presets.preset(env_id, backend, algorithm)) for backend in BACKENDS}
    rows = []
    for name, usual in default.items():
        found = [values[backend][name] for backend in BACKENDS]
        if all(value == found[0] for value in found):
            shown = [] if found[0] == usual else [code(found[0])]
        else:
            shown = [f"{code(value)} ({backend})" for backend, value in zip(BACKENDS, found, strict=True)]
        rows += [f"| `{name}` | {', '.join(shown)} |"] if shown else []
    heading = env_id if algorithm == "ppo" else f"{env_id} with {algorithm.upper()}"
    return ["", f"### {heading}", "", "| field | value |", "|---|---|", *rows]


def _anchors(file: Path) -> set[str]:
    """The anchors that a Markdown file's headings have, as GitHub spells them."""
    text = FENCED.sub("", file.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in HEADING.findall(text)}


if __name__ == "__main__":
    sys.exit(main())
