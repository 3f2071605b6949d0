"""The images' recipe agrees with what the project pins, and what it copies is a whole package."""

from __future__ import annotations

import fnmatch
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.container.dockerfile import Stage, copied, lineage, read_stages
from deploy.container.root_filesystem import BASE_IMAGE
from deploy.engines import flink, spark
from deploy.engines.downloads import FLINK_JARS, SPARK
from tests.support.locked import locked_version, python_version
from tests.support.tiny_dataset import ROOT

CONTAINER = ROOT / "deploy" / "container"


@pytest.fixture(scope="module")
def stages() -> dict[str, Stage]:
    return read_stages(CONTAINER / "Dockerfile")


def test_versions_are_those_of_the_lock(stages: dict[str, Stage]) -> None:
    assert stages["installed"].base == f"apache/beam_python{python_version()}_sdk:{locked_version('apache-beam')}"
    assert stages["installed"].base == BASE_IMAGE
    launcher = f"gcr.io/dataflow-templates-base/python{python_version().replace('.', '')}-template-launcher-base:"
    assert stages["launcher"].base.startswith(launcher)
    instructions = [each for stage in stages.values() for each in stage.instructions]
    named = {rest.split()[0].removeprefix("--from=") for word, rest in instructions if word == "COPY"}
    assert named & stages.keys() == {"launcher"}
    assert stages["flink"].base.startswith(f"flink:{FLINK_JARS.version}-")
    assert stages["spark"].base.startswith(f"apache/spark:{SPARK.version}-")


@pytest.mark.parametrize(
    ("name", "own_jars", "own_configuration"),
    [
        ("flink", flink.FLINK_HOME / "lib" / "beam", flink.CONFIGURATION / "config.yaml"),
        ("spark", spark.SPARK_HOME / "beam", spark.CONFIGURATION / "spark-defaults.conf"),
    ],
)
def test_a_cluster_is_that_of_its_engine(
    stages: dict[str, Stage], name: str, own_jars: Path, own_configuration: Path
) -> None:
    (jars,), (configuration,) = (sources for sources, _ in copied(lineage(stages, name)))
    # Not in git: made by the command that the file names.
    assert ROOT / jars == own_jars
    assert ROOT / configuration == own_configuration
    places = [f"/opt/{name}/{'lib/' * (name == 'flink')}beam", f"/opt/{name}/conf/{own_configuration.name}"]
    assert [place for _, place in copied(lineage(stages, name))] == places
    allowed = (CONTAINER / "Dockerfile.dockerignore").read_text().splitlines()
    for source in (jars, configuration):
        assert any(line.startswith("!") and fnmatch.fnmatch(source, line[1:]) for line in allowed), source


def test_all_that_is_installed_is_locked(stages: dict[str, Stage]) -> None:
    installs = [rest for word, rest in lineage(stages, "worker") if word == "RUN" and "pip install" in rest]
    assert len(installs) == 3
    locked = [f"--no-deps --require-hashes -r requirements/{name}.lock" for name in ("pipelines", "gpu")]
    # The package itself is built by what is installed already.
    assert all(
        words in each for words, each in zip([*locked, "--no-deps --no-build-isolation ."], installs, strict=True)
    )
    trainer = (ROOT / "deploy" / "Dockerfile").read_text()
    assert re.findall(r"pip install .*?-r (\S+\.lock)", trainer) == ["requirements/train.lock", "requirements/gpu.lock"]
    assert trainer.count("pip install") == trainer.count("--require-hashes") == 2


@pytest.mark.parametrize("name", ["worker", "pool", "score-template", "prepare-template"])
def test_what_is_copied_exists_and_reaches_the_builder(stages: dict[str, Stage], name: str) -> None:
    ignored, *allowed = [
        line for line in (CONTAINER / "Dockerfile.dockerignore").read_text().splitlines() if not line.startswith("#")
    ]
    assert ignored == "*"
    sources = [source for sources, _ in copied(lineage(stages, name)) for source in sources]
    assert {"setup.py", "pipelines", "trainer"} <= set(sources)
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(line.startswith("!") and fnmatch.fnmatch(source, line[1:]) for line in allowed), source


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("worker", ["/opt/apache/beam/boot"]),
        ("pool", ["python", "-m", "pipelines.beam.worker_pool"]),
        ("score-template", ["/opt/google/dataflow/python_template_launcher"]),
        ("prepare-template", ["/opt/google/dataflow/python_template_launcher"]),
    ],
)
def test_images_start_as_their_service_wants_it(stages: dict[str, Stage], name: str, entry: list[str]) -> None:
    said = lineage(stages, name)
    assert [json.loads(rest) for word, rest in said if word == "ENTRYPOINT"][-1] == entry
    variables = dict(rest.split("=", 1) for word, rest in said if word == "ENV")
    if name.endswith("-template"):
        script = variables["FLEX_TEMPLATE_PYTHON_PY_FILE"]
        assert script == f"/template/{name.removesuffix('-template')}.py"
        assert any(
            destination == "/template/" and any(source.endswith(script.rpartition("/")[2]) for source in sources)
            for sources, destination in copied(lineage(stages, name))
        )


def test_the_pool_is_not_root_and_nothing_secret_is_asked_for(stages: dict[str, Stage]) -> None:
    assert [rest for word, rest in lineage(stages, "pool") if word == "USER"] == ["10001"]
    names = [rest for name in stages for word, rest in lineage(stages, name) if word in ("ENV", "ARG")]
    assert not any(re.search(r"(?i)token|secret|password|key|credential", each) for each in names)


def test_what_is_copied_is_a_whole_package(stages: dict[str, Stage], tmp_path: Path) -> None:
    build, target = tmp_path / "build", tmp_path / "site"
    for sources, _ in copied(lineage(stages, "worker")):
        for source in sources:
            place = build / source
            place.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if (ROOT / source).is_dir() else shutil.copy)(ROOT / source, place)
    install = ("pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", target, build)
    subprocess.run([sys.executable, "-m", *install], check=True, cwd=tmp_path)
    held = {
        path.relative_to(ROOT).as_posix()
        for package in ("pipelines", "trainer")
        for path in (ROOT / package).rglob("*")
        if path.is_file()
    }
    missing = {path for path in held if "__pycache__" not in path and not (target / path).exists()}
    assert not missing
    # A folder of that name where the command is called is not taken for the package.
    (tmp_path / "pipelines").mkdir()
    code = "import pipelines.score.options as s; print(s.__file__)"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
    )
    assert ran.stdout.startswith(str(target))
