"""Writes the generated pages of docs/ from the live registry, and checks the links of every page.

`python docs/build.py` exits with 1 where a page was out of date (it is right now: commit it), a page or a picture
belongs to nothing or is missing, or a link leads nowhere.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import itertools
import json
import re
import sys
from enum import Enum
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import gymnasium
import mujoco
import numpy as np

import motrix_gym
import motrix_train
from motrix_gym.fields import configured
from motrix_gym.multi_task import MultiTask, cycle
from motrix_gym.registration import ENVS, Env, task_class
from motrix_train import presets
from motrix_train.config import PPOCfg, to_json

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs"
BACKENDS = ("torch", "jax")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
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
    written["environments/README.md"] = _lines(
        "# Environments",
        "",
        "| id | task | fields that differ from the defaults |",
        "|---|---|---|",
        *(f"| {_link(env.id)} | {_text(env.task).partition(chr(10))[0]} | {_difference(env)} |" for env in ENVS),
    )
    written["configuration.md"] = configuration_page()
    written["api.md"] = api_page()
    return written


def families() -> dict[str, list[Env]]:
    """The environments by the file that their task is in, which names their page."""
    found: dict[str, list[Env]] = {}
    for env in ENVS:
        module, _, _ = env.task.partition(":")
        found.setdefault(module.rpartition(".")[2], []).append(env)
    return found


def family_page(family: str, envs: list[Env]) -> str:
    """The environments of one file: a picture, what sets them apart, then each task."""
    tasks: dict[str, list[Env]] = {}
    for env in envs:
        tasks.setdefault(env.task, []).append(env)
    pictured = ", ".join(env.id.rpartition("/")[2] for env in envs)
    return _lines(
        f"# {family.replace('_', ' ').capitalize()}",
        "",
        f"![{pictured}]({family}.png)",
        "",
        *([f"*{pictured}*", ""] if len(envs) > 1 else []),
        "| id | task | time limit | fields that differ from the defaults |",
        "|---|---|---|---|",
        *(f"| `{env.id}` | {_name(env.task)} | {_time_limit(env)} | {_difference(env)} |" for env in envs),
        *(line for base in bases(list(tasks)) for line in ("", f"## {base.__name__}", "", _with_headings(base, "###"))),
        *(line for task, alike in tasks.items() for line in task_section(task, alike, alone=len(tasks) == 1)),
    )


def bases(tasks: list[str]) -> list[type]:
    """The classes that some tasks inherit their tables from, each once."""
    classes = [task_class(task) for task in tasks]
    described = [next(c for c in cls.__mro__ if "Observation:" in _docstring(c)[0].splitlines()) for cls in classes]
    return [cls for cls in dict.fromkeys(described) if cls not in classes]


def task_section(name: str, envs: list[Env], *, alone: bool) -> list[str]:
    """A task's docstring, and what only its live environments know; under a heading where it is not alone."""
    heading = "##" if alone else "###"
    default = configured(task_class(name), {})
    others = ", and of the task's other ids" if len(envs) > 1 else ""
    return [
        "",
        *([] if alone else [f"## {_name(name)}", ""]),
        _with_headings(task_class(name), heading),
        *(_joined(default, live(envs[0].id), heading) if isinstance(default, MultiTask) else []),
        "",
        f"{heading} Spaces and times",
        "",
        "| | |",
        "|---|---|",
        *(f"| {quantity} | {value} |" for quantity, value in _spaces_and_times(envs).items()),
        "",
        f"{heading} Fields",
        "",
        f'Keyword arguments of `gymnasium.make_vec("{envs[0].id}", ...)`{others}.',
        "",
        "| field | default | meaning |",
        "|---|---|---|",
        *(f"| `{name}` | {_code(getattr(default, name))} | {meaning} |" for name, meaning in _fields(default).items()),
    ]


@functools.cache
def live(env_id: str) -> Any:
    """The environment, one of it."""
    return gymnasium.make_vec(env_id, num_envs=1).unwrapped


def _spaces_and_times(envs: list[Env]) -> dict[str, str]:
    """What holds for all of some environments, once; where they differ, of each."""
    found = {
        env.id: {
            "observation": _box(live(env.id).single_observation_space),
            "action": _box(live(env.id).single_action_space),
            "control step": f"{live(env.id).task.control_dt:g} s",
            "physics step": ", ".join(f"{timestep:g} s" for timestep in _timesteps(live(env.id).task)),
        }
        for env in envs
    }
    shown = {}
    for quantity in found[envs[0].id]:
        values = {env_id: facts[quantity] for env_id, facts in found.items()}
        alike = len(set(values.values())) == 1
        each = [f"{value} (`{env_id}`)" for env_id, value in values.items()]
        shown[quantity] = values[envs[0].id] if alike else "; ".join(each)
    return shown


def _joined(task: MultiTask, envs: Any, heading: str) -> list[str]:
    """The default tasks of an environment that joins some, and where each observation block lies."""
    ids = [entry["id"] for entry in task.tasks]
    total = len(cycle(task.shares))
    rows = [
        f"| {k} | {name} | {_link(id)} | {share} of {total} |"
        for k, (name, id, share) in enumerate(zip(task.members(), ids, task.shares, strict=True))
    ]
    blocks = [f"| {block.start}-{block.stop - 1} | {name} |" for name, block in envs.observation_blocks.items()]
    return [
        "",
        f"{heading} The tasks by default",
        "",
        "| index | name | id | environments |",
        "|---|---|---|---|",
        *rows,
        "",
        "| index | observation block |",
        "|---|---|",
        *blocks,
    ]


def configuration_page() -> str:
    """Every field of a training configuration, and what each preset makes of it."""
    meanings = _attribute_docstrings(PPOCfg)
    default = to_json(PPOCfg())
    return _lines(
        "# The fields of a training configuration",
        "",
        _docstring(PPOCfg)[0],
        "",
        "`motrix-train show ENV` prints the configuration of an environment, `--set FIELD=VALUE` changes it.",
        "[Presets](presets.md) says how to keep changes in a file, and how a package brings its own presets.",
        "",
        "| field | default | meaning |",
        "|---|---|---|",
        *(f"| `{name}` | {_code(value)} | {meanings[name]} |" for name, value in default.items()),
        "",
        "## Presets",
        "",
        "What differs from the defaults; a value of one backend alone is marked.",
        *(line for env_id in presets.preset_ids() for line in _preset(env_id, default)),
    )


def api_page() -> str:
    """Every public name of both packages: its signature and its docstring."""
    names = {
        f"{package.__name__}.{name}": getattr(package, name)
        for package in (motrix_gym, motrix_train)
        for name in package.__all__
    }
    return _lines(
        "# The public names",
        "",
        _markdown(motrix_gym),
        "",
        "| name | what it is |",
        "|---|---|",
        *(
            f"| [`{name}`](#{name.replace('.', '').lower()}) | {_markdown(x).splitlines()[0]} |"
            for name, x in names.items()
        ),
        *(line for name, x in names.items() for line in ("", f"## {name}", "", *_reference(name.partition(".")[2], x))),
    )


def _reference(name: str, thing: Any) -> list[str]:
    """A public name: its signature, its docstring, and the same of what is in it."""
    inner = _members(thing) if isinstance(thing, (type, ModuleType)) else {}
    own = [*_signature(name, thing), _markdown(thing)]
    return own + [
        line for n, x in inner.items() for line in ("", f"### {name}.{n}", "", *_signature(n, x), _markdown(x))
    ]


def _members(owner: type | ModuleType) -> dict[str, Any]:
    """What is public in a module, or in a class and its bases in these packages, those of a base first."""
    if isinstance(owner, ModuleType):
        here = {name: x for name, x in vars(owner).items() if getattr(x, "__module__", "") == owner.__name__}
        return {name: here[name] for name in getattr(owner, "__all__", here) if name in here and name[0] != "_"}
    bases = [base for base in reversed(owner.__mro__) if base.__module__.startswith("motrix_")]
    static = {name: inspect.getattr_static(owner, name) for base in bases for name in vars(base) if name[0] != "_"}
    documented = (property, functools.cached_property, staticmethod, FunctionType)
    return {name: getattr(x, "__func__", x) for name, x in static.items() if isinstance(x, documented)}


def _signature(name: str, thing: Any) -> list[str]:
    if not callable(thing):
        return []
    signature = inspect.signature(thing)
    parameters = [
        p.replace(annotation=_unquoted(p.annotation), default=_short(p.default))
        for p in signature.parameters.values()
        if p.name != "self"
    ]
    result = signature.empty if isinstance(thing, type) else _unquoted(signature.return_annotation)
    return ["```python", f"{name}{signature.replace(parameters=parameters, return_annotation=result)}", "```", ""]


def _unquoted(annotation: Any) -> Any:
    return _Bare(annotation) if isinstance(annotation, str) else annotation


def _short(x: Any) -> Any:
    """A default as the code has it, where that is short."""
    if isinstance(x, Enum):
        return _Bare(str(x))
    if x is ... or "<factory>" in repr(x) or len(repr(x)) > 100:
        return _Bare("...")
    return x


class _Bare(str):
    """A text that is its own `repr`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _markdown(thing: Any) -> str:
    """A docstring, its indented sections as lists and its examples as code."""
    text = (inspect.getdoc(thing) or "").replace("``", "`")
    text = re.sub(r"^>>> .*(?:\n.+)*", r"```python\n\g<0>\n```", text, flags=re.MULTILINE)
    return re.sub(r"^([A-Z]\w+):\n((?:\n? {4}.*\n?)+)", _list, text, flags=re.MULTILINE).rstrip()


def _list(section: re.Match[str]) -> str:
    heading, block = section[1], inspect.cleandoc(f"\n{section[2]}")
    if heading == "Returns":
        return f"{heading}: {' '.join(block.split())}\n"
    entries = re.split(r"\n(?=\S)", block)
    items = [re.sub(r"^([*\w.]+):", r"`\1`:", " ".join(entry.split())) for entry in entries]
    return "\n".join([f"{heading}:", "", *(f"- {item}" for item in items), ""])


def misfits() -> list[str]:
    """What lies in docs/environments and belongs to no family, and what a family lacks."""
    pictures = {f"{family}.png" for family in families()}
    there = {path.name for path in (PAGES / "environments").iterdir()}
    strays = there - pictures - {Path(name).name for name in pages()}
    return [
        *(f"docs/environments/{name} belongs to no family of environments: delete it" for name in sorted(strays)),
        *(
            f"docs/environments/{name} is missing: draw it with `python docs/pictures.py families {Path(name).stem}`"
            for name in sorted(pictures - there)
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


def _lines(*lines: str) -> str:
    return "\n".join(lines) + "\n"


def _name(task: str) -> str:
    return task.partition(":")[2]


def _text(task: str) -> str:
    return _docstring(task_class(task))[0]


def _with_headings(cls: type, heading: str) -> str:
    return re.sub(r"^([A-Z]\w+):$", rf"{heading} \1", _docstring(cls)[0], flags=re.MULTILINE)


def _link(env_id: str) -> str:
    """The link to an environment's page from another of them."""
    return next(f"[`{env_id}`]({family}.md)" for family, envs in families().items() if env_id in {e.id for e in envs})


def _time_limit(env: Env) -> str:
    return f"{env.max_episode_steps} steps, {env.max_episode_steps * live(env.id).task.control_dt:g} s"


def _difference(env: Env) -> str:
    """The fields of an environment's task that are not the defaults of its class."""
    default, own = configured(task_class(env.task), {}), live(env.id).task
    values = {field.name: getattr(own, field.name) for field in dataclasses.fields(own)}
    changed = {name: value for name, value in values.items() if value != getattr(default, name)}
    return ", ".join(f"`{name}` {json.dumps(value)}" for name, value in changed.items())


def _preset(env_id: str, default: dict[str, Any]) -> list[str]:
    values = {backend: to_json(presets.preset(env_id, backend)) for backend in BACKENDS}
    rows = []
    for name, usual in default.items():
        found = [values[backend][name] for backend in BACKENDS]
        if all(value == found[0] for value in found):
            shown = [] if found[0] == usual else [_code(found[0])]
        else:
            shown = [f"{_code(value)} ({backend})" for backend, value in zip(BACKENDS, found, strict=True)]
        rows += [f"| `{name}` | {', '.join(shown)} |"] if shown else []
    return ["", f"### {env_id}", "", "| field | value |", "|---|---|", *rows]


def _fields(task: Any) -> dict[str, str]:
    """The meaning of each field of a task, from the docstrings of its class and of those it inherits from."""
    meanings: dict[str, str] = {}
    for cls in type(task).__mro__:
        meanings = _docstring(cls)[1] | meanings if cls is not object else meanings
    names = [field.name for field in dataclasses.fields(task)]
    if missing := [name for name in names if name not in meanings]:
        raise SystemExit(f"{type(task).__name__} has undocumented fields: {', '.join(missing)}")
    return {name: meanings[name] for name in names}


def _docstring(cls: type) -> tuple[str, dict[str, str]]:
    """A docstring's text without its Attributes, and its Attributes by name."""
    text, _, attributes = inspect.cleandoc(cls.__doc__ or "").partition("\nAttributes:\n")
    entries = re.split(r"^ {4}(\w+): ", attributes, flags=re.MULTILINE)[1:]
    meanings = {name: " ".join(meaning.split()) for name, meaning in zip(entries[::2], entries[1::2], strict=True)}
    return text.strip().replace("``", "`"), meanings


def _attribute_docstrings(cls: type) -> dict[str, str]:
    """The strings below the fields of a class."""
    body = ast.parse(inspect.getsource(cls)).body[0].body  # type: ignore[attr-defined]
    return {
        field.target.id: " ".join(text.value.value.split()).replace("``", "`")  # type: ignore[attr-defined]
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr)
    }


def _timesteps(task: Any) -> list[float]:
    tasks = task.members().values() if isinstance(task, MultiTask) else [task]
    models: list[mujoco.MjModel] = [task.model() for task in tasks]
    return sorted({model.opt.timestep for model in models})


def _box(space: Any) -> str:
    low, high = np.unique(space.low), np.unique(space.high)
    if np.isinf(low).all() and np.isinf(high).all():
        bounds = "unbounded"
    elif len(low) == len(high) == 1:
        bounds = f"in [{low[0]:g}, {high[0]:g}]"
    else:
        bounds = f"between {space.low} and {space.high}"
    return f"{space.dtype} {space.shape}, {bounds}"


def _code(value: Any) -> str:
    return f"`{json.dumps(value)}`"


def _anchors(file: Path) -> set[str]:
    """The anchors that a Markdown file's headings have, as GitHub spells them."""
    text = FENCED.sub("", file.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in HEADING.findall(text)}


if __name__ == "__main__":
    sys.exit(main())
