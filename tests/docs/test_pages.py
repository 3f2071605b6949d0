"""The pages name what is there: commands run, links lead somewhere, and named paths, modules and imports exist."""

from __future__ import annotations

import ast
import functools
import importlib.util
import itertools
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OURS = ("pipelines", "trainer", "benchmarks", "deploy")
# The change log speaks of names that are gone.
PAGES = sorted(
    page.relative_to(ROOT)
    for pattern in ("*.md", "docs/**/*.md", "deploy/**/*.md", "benchmarks/*.md", ".github/**/*.md")
    for page in ROOT.glob(pattern)
    if page.name != "CHANGELOG.md"
)
COMMAND = re.compile(r"python -m (\w+(?:\.\w+)*)")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
URL = re.compile(r"\w+://\S+")
TREES = r"pipelines|trainer|tests|docs|deploy|benchmarks|\.github"
REPOSITORY_PATH = re.compile(rf"(?<![\w./$}}-])((?:{TREES})/[\w./*-]*\w|\.ci/\w+)(?![\w$*{{])")
DOTTED = re.compile(r"(?<![\w./-])((?:pipelines|trainer)(?:\.\w+)+)")
IMPORT = re.compile(r"^\s*(?:from|import) (?:pipelines|trainer)\.(\w+)", re.MULTILINE)
FLOW_STEP = re.compile(r"(?<![\w./])([a-z]+/[a-z_]+)\b(?!/)")


def text_of(page: Path) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def outside_fences(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def plain_blocks(text: str) -> str:
    """The fenced blocks of a page that are in no language."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return "\n".join(block for language, block in blocks if not language)


@functools.cache
def anchors(page: Path) -> set[str]:
    """The anchors GitHub gives the headings of a page."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#+ (.+)$", outside_fences(page.read_text(encoding="utf-8")), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


@functools.cache
def names_of(module: Path) -> set[str]:
    """What a module defines or imports at its top level."""
    found = set()
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def resolves(dotted: str) -> bool:
    """Whether a dotted name is a package, a module, or a name that a module defines."""
    *parents, last = dotted.split(".")
    place = ROOT.joinpath(*parents)
    if (place / last).is_dir() or (place / f"{last}.py").is_file():
        return True
    module = place.with_suffix(".py")
    return module.is_file() and last in names_of(module)


def runs(name: str) -> bool:
    """Whether `python -m NAME` starts something. Modules of others are looked up by their top package alone."""
    if name.split(".")[0] not in OURS:
        return importlib.util.find_spec(name.split(".")[0]) is not None
    place = ROOT.joinpath(*name.split("."))
    if place.is_dir():
        return (place / "__main__.py").is_file()
    module = place.with_suffix(".py")
    return module.is_file() and '__name__ == "__main__"' in module.read_text(encoding="utf-8")


def broken_links(page: Path) -> list[str]:
    broken = []
    for target in LINK.findall(outside_fences(text_of(page))):
        if URL.match(target) or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        place = (ROOT / page.parent / path).resolve() if path else ROOT / page
        if not place.exists() or (anchor and place.suffix == ".md" and anchor not in anchors(place)):
            broken.append(target)
    return broken


def missing_paths(page: Path) -> list[str]:
    """Paths from the root anywhere on a page, and those in backticks that start beside it, which do not exist."""
    paths = REPOSITORY_PATH.findall(URL.sub("", text_of(page)))
    beside = {place.name for place in (ROOT / page).parent.iterdir()} if page.parent != Path() else set()
    paths += [
        f"{page.parent}/{token}"
        for token in re.findall(r"`([\w.]+/[\w./*-]*)`", outside_fences(text_of(page)))
        if token.split("/")[0] in beside
    ]
    return [path for path in paths if not any(ROOT.glob(path.rstrip("/")))]


def on_pages(problems: Callable[[Path], list[str]]) -> list[str]:
    return [f"{page}: {problem}" for page in PAGES for problem in problems(page)]


def test_every_command_on_a_page_names_a_module_that_runs() -> None:
    assert on_pages(lambda page: [name for name in COMMAND.findall(text_of(page)) if not runs(name)]) == []


def test_every_relative_link_on_a_page_leads_to_a_file_and_a_heading() -> None:
    assert on_pages(broken_links) == []


def test_every_path_of_the_repository_on_a_page_exists() -> None:
    assert on_pages(missing_paths) == []


def test_every_dotted_name_on_a_page_is_a_module_or_is_defined_in_one() -> None:
    assert (
        on_pages(lambda page: [name for name in DOTTED.findall(URL.sub("", text_of(page))) if not resolves(name)]) == []
    )


def test_the_architecture_has_every_package_in_its_tree_and_only_modules_in_its_flows() -> None:
    blocks = plain_blocks(text_of(Path("docs/architecture.md")))
    packages = {path.parent for tree in ("pipelines", "trainer") for path in (ROOT / tree).glob("*/__init__.py")}
    tree = set(re.findall(r"^  (\w+)/ ", blocks, re.MULTILINE))
    assert tree == {package.name for package in packages}
    steps = FLOW_STEP.findall(blocks)
    assert len(steps) > 20
    modules = {f"{package.name}/{module.stem}" for package in packages for module in package.glob("*.py")}
    assert set(steps) <= modules


def reachable(arrows: set[tuple[str, str]], start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        package = waiting.pop()
        ahead = {end for begin, end in arrows if begin == package} - found
        found |= ahead
        waiting += ahead
    return found


def test_the_graph_of_the_architecture_allows_every_import_between_packages() -> None:
    (drawing,) = re.findall(r"^```mermaid\n(.*?)^```", text_of(Path("docs/architecture.md")), re.MULTILINE | re.DOTALL)
    arrows: set[tuple[str, str]] = set()
    for line in drawing.splitlines():
        chain = [re.findall(r"\w+", part) for part in line.split("-->")]
        for begins, ends in itertools.pairwise(chain):
            arrows |= set(itertools.product(begins, ends))
    imports = {
        (module.parent.name, package)
        for tree in ("pipelines", "trainer")
        for module in (ROOT / tree).glob("*/*.py")
        for package in IMPORT.findall(module.read_text(encoding="utf-8"))
        if package != module.parent.name
    }
    assert {(begin, end) for begin, end in imports if end not in reachable(arrows, begin)} == set()
