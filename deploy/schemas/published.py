"""Find the schema of a manifest as its own project publishes it, downloaded once and compared with a checksum."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import yaml

from deploy.engines.downloads import (
    ROOT,
    GoModule,
    Package,
    build_go_program,
    copy_jars,
    download_module,
    download_once,
    unpack_package,
)

_HERE = ROOT / "deploy" / "schemas"
# The schemas of Kubernetes' own kinds, for several of its releases.
KUBERNETES_RELEASE = "1.37.0"
_KUBERNETES = Package(
    "kubernetes-validate", "1.37.0", "85136d018a27b50ec7fc049d902bfa5193f5976807e6c0f408e3ab6fe078cad9"
)
_TFJOB = GoModule("github.com/kubeflow/training-operator", "v1.8.1", "h1:mVvoBSCInbMBX0gGSn4+Ihj3ycwoLO1iEAw+0qPhQfc=")
# The library with which `docker compose` reads its files, and its program that does no more than that.
_COMPOSE = GoModule(
    "github.com/compose-spec/compose-go/v2", "v2.16.2", "h1:pTp1DqQwJzFd85GzlWsSszKA1ABrV/ySqsClujIcWA8="
)
_FLINK_OPERATOR = "1.10.0"


def schema_of(document: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON schema of a Kubernetes document, which refuses fields that it does not name.

    A cluster ignores such fields, so a misspelt one would have no effect.

    Args:
        document: Of a kind of Kubernetes itself, a FlinkDeployment or a TFJob.

    Raises:
        DownloadError: The schema could not be downloaded or is not the pinned one.
        KeyError: The kind is not known in this version.
    """
    if document["kind"] == "FlinkDeployment":
        return _custom_resource(_flink_definition(), document)
    if document["kind"] == "TFJob":
        path = "manifests/base/crds/kubeflow.org_tfjobs.yaml"
        return _custom_resource((download_module(_TFJOB) / path).read_text(), document)
    return _kubernetes_schema(document)


def compose_reader() -> Path:
    """Return the program that reads a Compose file as `docker compose` does, built on first use."""
    folder = download_once(f"compose-go-{_COMPOSE.version}", lambda folder: build_go_program(_COMPOSE, "cmd", folder))
    return folder / "cmd"


def closed(schema: Any) -> Any:
    """Return an OpenAPI schema that refuses fields that it does not name, as far as it does not leave them open."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: closed(value) for key, value in schema.items()}
    names_fields = found.get("type") == "object" and isinstance(found.get("properties"), dict)
    if names_fields and not found.get("x-kubernetes-preserve-unknown-fields"):
        found.setdefault("additionalProperties", False)
    return found


def _custom_resource(definition: str, document: dict[str, Any]) -> dict[str, Any]:
    resource = yaml.safe_load(definition)["spec"]
    versions = {f"{resource['group']}/{each['name']}": each for each in resource["versions"]}
    schema = closed(versions[document["apiVersion"]]["schema"]["openAPIV3Schema"])
    # Every resource has these; definitions may leave them out.
    for name in ("apiVersion", "kind", "metadata"):
        schema["properties"].setdefault(name, {})
    return schema


def _flink_definition() -> str:
    def fill(folder: Path) -> None:
        jars = folder / "jars"
        copy_jars(_HERE / "pom.xml", _HERE / "jars.sha256", jars)
        (jar,) = jars.iterdir()
        with zipfile.ZipFile(jar) as archive:
            archive.extract("META-INF/fabric8/flinkdeployments.flink.apache.org-v1.yml", folder)
        shutil.rmtree(jars)

    folder = download_once(f"flink-operator-{_FLINK_OPERATOR}", fill)
    return next(folder.rglob("*.yml")).read_text()


def _kubernetes_schema(document: dict[str, Any]) -> dict[str, Any]:
    members = f"kubernetes_validate/kubernetes-json-schema/v{KUBERNETES_RELEASE}-local-strict"
    folder = download_once(
        f"kubernetes-{KUBERNETES_RELEASE}", lambda folder: unpack_package(_KUBERNETES, members, folder)
    )
    definitions = json.loads((folder / "_definitions.json").read_text())
    group, _, version = document["apiVersion"].rpartition("/")
    wanted = {"group": group, "version": version, "kind": document["kind"]}
    for name, definition in definitions["$defs"].items():
        if wanted in definition.get("x-kubernetes-group-version-kind", ()):
            return {**definitions, "$ref": f"#/$defs/{name}"}
    raise KeyError(f"Kubernetes {KUBERNETES_RELEASE} has no {wanted}")
