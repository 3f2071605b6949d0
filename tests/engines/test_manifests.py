"""Manifests are what the programs that read them take, by the schemas and readers that their projects publish."""

from __future__ import annotations

import copy
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from google.cloud.aiplatform_v1.types.custom_job import CustomJobSpec

from deploy.schemas.published import compose_reader, schema_of
from tests.engines.conftest import require_programs
from tests.support.tiny_dataset import ROOT

pytestmark = pytest.mark.engines

DEPLOY = ROOT / "deploy"
ON_KUBERNETES = ("flink/deployment.yaml", "kubernetes.yaml", "tfjob.yaml")


def documents() -> list[Any]:
    return [
        pytest.param(document, id=f"{name}-{document['kind']}")
        for name in ON_KUBERNETES
        for document in yaml.safe_load_all((DEPLOY / name).read_text())
    ]


@pytest.mark.parametrize("document", documents())
def test_a_cluster_knows_every_field_of_a_document(document: dict[str, Any]) -> None:
    require_programs("schemas")
    schema = schema_of(document)
    judge = jsonschema.validators.validator_for(schema)(schema)
    assert [f"{error.json_path}: {error.message}" for error in judge.iter_errors(document)] == []
    misspelt = copy.deepcopy(document)
    misspelt["spec"]["replica"] = 2
    assert [list(error.path) for error in judge.iter_errors(misspelt)] == [["spec"]]


@pytest.mark.parametrize("path", sorted((DEPLOY / "compose").iterdir()), ids=lambda path: path.name)
def test_compose_reads_each_of_its_files(path: Path, tmp_path: Path) -> None:
    require_programs("schemas")
    # The program does not look at the environment.
    text = re.sub(r"\$\{DATA:\?[^}]+\}", "/data", path.read_text())
    given = tmp_path / path.name
    given.write_text(text)
    read = subprocess.run([compose_reader(), "--format", "json", given], capture_output=True, text=True)
    assert read.returncode == 0, read.stderr
    assert read.stderr == ""
    assert json.loads(read.stdout)["services"].keys() == yaml.safe_load(text)["services"].keys()
    given.write_text(text.replace("depends_on:", "depend_on:", 1))
    misspelt = subprocess.run([compose_reader(), given], capture_output=True, text=True)
    assert misspelt.returncode != 0
    assert "depend_on" in misspelt.stderr


def test_vertex_ai_knows_every_field_of_its_job() -> None:
    document = yaml.safe_load((DEPLOY / "vertex_ai.yaml").read_text())
    job = CustomJobSpec.from_json(json.dumps(document), ignore_unknown_fields=False)
    assert [pool.replica_count for pool in job.worker_pool_specs] == [1, 3]
    assert job.scheduling.timeout.total_seconds() == 24 * 3600
