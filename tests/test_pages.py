"""The generated pages: every environment is on one, with a picture, and says there what its code says."""

import inspect
import re
import shutil
from pathlib import Path
from typing import Any

import gymnasium
import pytest
import script_files

import motrix_gym
import motrix_train
from motrix_gym.registration import ENVS, task_class

ROOT = Path(__file__).parents[1]
PAGES = {page.stem: page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "environments").glob("*.md")}
INDEX = PAGES.pop("README")
ROW = re.compile(r"^\| \[`(Motrix/\S+)`\]\(#\S+\) \| (\w+) \| (\d+) steps, (\S+) s \| (.*) \|$", re.MULTILINE)
PICTURE_BYTES = 150_000
CLIP_BYTES = 300_000
ALL_CLIPS_BYTES = 8_000_000
GALLERY = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")


@pytest.fixture
def build(monkeypatch):
    """The module docs/build.py."""
    return script_files.load(ROOT / "docs" / "build.py", monkeypatch)


def test_every_environment_is_on_exactly_the_page_of_its_file():
    on_pages = sorted((env_id, page) for page, text in PAGES.items() for env_id, *_ in ROW.findall(text))
    assert on_pages == sorted((env.id, env.task.partition(":")[0].rpartition(".")[2]) for env in ENVS)


@pytest.mark.parametrize("env", ENVS, ids=lambda env: env.id)
def test_the_page_and_the_index_say_what_sets_an_environment_apart(env):
    page = env.task.partition(":")[0].rpartition(".")[2]
    [row] = [row for row in ROW.findall(PAGES[page]) if row[0] == env.id]
    _, name, steps, seconds, differing = row
    envs: Any = gymnasium.make_vec(env.id, num_envs=1).unwrapped
    assert name == env.task.partition(":")[2]
    assert int(steps) == env.max_episode_steps
    assert float(seconds) == pytest.approx(env.max_episode_steps * envs.task.control_dt)
    assert set(re.findall(r"`(\w+)` ", differing)) == env.kwargs.keys()
    first_line = inspect.cleandoc(task_class(env.task).__doc__ or "").partition("\n")[0].replace("``", "`")
    assert f"| [`{env.id}`]({page}.md) | {first_line} | {differing} |\n" in INDEX


def test_variants_can_be_told_apart():
    rows = [line.split(" | ", 1)[1] for line in INDEX.splitlines() if line.startswith("| [`Motrix/")]
    assert len(rows) == len(set(rows)) == len(ENVS)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_has_a_small_picture_near_the_top(page):
    heading, _, picture, *_ = PAGES[page].splitlines()
    assert heading.startswith("# ")
    [name] = re.findall(r"^!\[.+\]\((.+)\)$", picture)
    content = (ROOT / "docs" / "environments" / name).read_bytes()
    assert name == f"{page}.png"
    assert content.startswith(b"\x89PNG")
    assert len(content) < PICTURE_BYTES


@pytest.mark.parametrize("env", ENVS, ids=lambda env: env.id)
def test_the_gallery_and_the_page_show_the_clip_or_the_still_of_an_environment(env):
    family, name = env.task.partition(":")[0].rpartition(".")[2], env.id.removeprefix("Motrix/")
    [(shown, link)] = re.findall(rf"\]\(clips/({name}\..+?)\)\]\((\S+)\)<br>`{env.id}`", GALLERY)
    assert link == f"environments/{family}.md#{env.id.replace('/', '').lower()}"
    own = PAGES[family].partition(f"\n## {env.id}\n")[2].partition("\n## ")[0]
    assert f"](../clips/{shown})" in own
    [there] = (ROOT / "docs" / "clips").glob(f"{name}.*")
    assert there.name == shown


def test_every_claim_of_what_is_exact_names_a_test_that_there_is():
    page = (ROOT / "docs" / "determinism.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ") and "proved by" not in line]
    assert len(rows) > 20
    for row in rows:
        proofs = re.findall(r"\[`(test_\w+)`\]\(\.\./(tests/\S+\.py)\)", row.split(" | ")[-1])
        assert proofs, row
    for test, file in re.findall(r"\[`(\w+)`\]\(\.\./(\S+)\)", page):
        assert re.search(rf"^def {test}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), test


def test_what_is_exact_can_be_found():
    assert "(docs/determinism.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert '"docs/determinism"' in (ROOT / "docs" / "conf.py").read_text(encoding="utf-8")


def test_clips_are_small_and_play_for_ever():
    image = pytest.importorskip("PIL.Image", reason="Pillow comes with an extra")
    clips = sorted((ROOT / "docs" / "clips").iterdir())
    assert sum(clip.stat().st_size for clip in clips) < ALL_CLIPS_BYTES
    for clip in clips:
        assert clip.stat().st_size < CLIP_BYTES
        with image.open(clip) as picture:
            assert picture.size[1] == 240
            assert clip.suffix == ".png" or (picture.n_frames > 20 and picture.info["loop"] == 0)


@pytest.mark.parametrize("task", sorted({env.task for env in ENVS}))
def test_a_page_has_the_docstring_of_its_tasks_once(task):
    module, _, name = task.partition(":")
    text, _, attributes = (
        inspect.cleandoc(task_class(task).__doc__ or "").replace("``", "`").partition("\nAttributes:\n")
    )
    page = PAGES[module.rpartition(".")[2]]
    alone = len({env.task for env in ENVS if env.task.startswith(f"{module}:")}) == 1
    own = page if alone else page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    for line in text.splitlines():
        shown = re.sub(r"^([A-Z]\w+):$", r"# \1", line)
        assert shown in own, line
    for entry in re.findall(r"^ {4}(\w+): ", attributes, flags=re.MULTILINE):
        assert len(re.findall(rf"^\| `{entry}` \| ", own, re.MULTILINE)) == 1
    assert own.count(text.partition("\n")[0]) == 1


def test_a_page_has_the_tables_that_its_tasks_share_once(build):
    import families

    for family, envs in families.families().items():
        for base in families.bases([env.task for env in envs]):
            first_line = inspect.cleandoc(base.__doc__).partition("\n")[0]
            own = PAGES[family].partition(f"\n## {base.__name__}\n")[2].partition("\n## ")[0]
            assert PAGES[family].count(first_line) == own.count(first_line) == 1
            assert all(f"\n### {heading}\n\n|" in own for heading in ("Observation", "Reward", "Termination"))


def test_what_belongs_to_no_environment_or_is_missing_is_said(build, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "docs" / "environments"
    folder.mkdir(parents=True)
    shutil.copytree(ROOT / "docs" / "clips", tmp_path / "docs" / "clips")
    (tmp_path / "benchmarks").symlink_to(ROOT / "benchmarks")
    monkeypatch.setattr(build, "PAGES", tmp_path / "docs")
    monkeypatch.setattr(build, "ROOT", tmp_path)
    pictures = [folder / f"{family}.png" for family in build.families()]
    for path in [*pictures, tmp_path / "docs" / "presets.md"]:  # which the page of the configuration leads to
        path.touch()
    assert build.main() == 1
    assert build.main() == 0
    (folder / "unicycle.md").touch()
    pictures[0].unlink()
    capsys.readouterr()
    assert build.main() == 1
    stray, missing, dead = capsys.readouterr().out.splitlines()
    assert stray == "docs/environments/unicycle.md belongs to no family of environments: delete it"
    assert missing == (
        f"docs/environments/{pictures[0].name} is missing: "
        f"draw it with `python docs/pictures.py families {pictures[0].stem}`"
    )
    assert pictures[0].name in dead


def test_every_public_name_is_on_its_page(build):
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert page == build.api_page()
    names = [f"{package.__name__}.{name}" for package in (motrix_gym, motrix_train) for name in package.__all__]
    assert re.findall(r"^## (.+)$", page, re.MULTILINE) == names
    assert re.findall(r"^\| \[`(.+?)`\]", page, re.MULTILINE) == names
    methods = [name for name, x in vars(motrix_gym.Task).items() if inspect.isfunction(x) and name[0] != "_"]
    for name in methods:
        assert f"\n### Task.{name}\n\n```python\n{name}(" in page
    for name in motrix_gym.fields.__all__:
        assert f"fields.{name}\n" in page or f"| `{name}` |" in page
    assert "(self" not in page
    for name, x in vars(motrix_gym.rewards).items():
        assert not inspect.isfunction(x) or name[0] == "_" or f"\n### rewards.{name}\n" in page
