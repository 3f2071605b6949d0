"""The bill of materials of a wheel."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from deploy.release.bill_of_materials import bill, read_wheel

METADATA = """\
Metadata-Version: 2.4
Name: isic-lesion-pipelines
Version: 0.1.0
Summary: Lesions
License: Apache-2.0
Requires-Dist: Jinja2>=3
Requires-Dist: numpy>=2
Provides-Extra: train
Requires-Dist: scikit_learn>=1.5; extra == "train"
Provides-Extra: dev
Requires-Dist: pytest>=8; extra == "dev"
"""
PINS = {"jinja2": "3.1", "markupsafe": "3.0", "numpy": "2.4", "scikit-learn": "1.9"}


def component(name: str, version: str) -> dict[str, Any]:
    return {"name": name, "version": version, "bom-ref": f"{name}=={version}", "type": "library"}


ENVIRONMENT = {
    "bomFormat": "CycloneDX",
    "metadata": {"tools": {}},
    "components": [
        component("Jinja2", "3.1"),
        component("MarkupSafe", "3.0"),
        component("numpy", "2.4"),
        component("pytest", "9.2"),
        component("scikit-learn", "1.9"),
    ],
    "dependencies": [
        {"ref": "Jinja2==3.1", "dependsOn": ["MarkupSafe==3.0"]},
        {"ref": "MarkupSafe==3.0"},
        {"ref": "numpy==2.4", "dependsOn": ["pytest==9.2"]},
        {"ref": "pytest==9.2"},
        {"ref": "scikit-learn==1.9", "dependsOn": ["numpy==2.4", "pytest==9.2"]},
    ],
}


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "isic_lesion_pipelines-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("isic_lesion_pipelines-0.1.0.dist-info/METADATA", METADATA)
    return path


def test_a_bill_names_the_wheel_and_what_runs_with_it_and_nothing_else(wheel: Path) -> None:
    document = bill(ENVIRONMENT, read_wheel(wheel), PINS)
    root = document["metadata"]["component"]
    assert (root["purl"], root["licenses"]) == (
        "pkg:pypi/isic-lesion-pipelines@0.1.0",
        [{"license": {"id": "Apache-2.0"}}],
    )
    assert root["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(wheel.read_bytes()).hexdigest()}]
    assert [each["name"] for each in document["components"]] == ["Jinja2", "MarkupSafe", "numpy", "scikit-learn"]
    assert document["dependencies"] == [
        {"ref": "isic-lesion-pipelines==0.1.0", "dependsOn": ["Jinja2==3.1", "numpy==2.4", "scikit-learn==1.9"]},
        {"ref": "Jinja2==3.1", "dependsOn": ["MarkupSafe==3.0"]},
        {"ref": "MarkupSafe==3.0"},
        {"ref": "numpy==2.4"},
        {"ref": "scikit-learn==1.9", "dependsOn": ["numpy==2.4"]},
    ]


def test_an_environment_that_differs_from_the_lock_has_no_bill(wheel: Path) -> None:
    with pytest.raises(SystemExit, match=r"not installed in the version of the lock: numpy; run make venv"):
        bill(ENVIRONMENT, read_wheel(wheel), {**PINS, "numpy": "2.5"})
