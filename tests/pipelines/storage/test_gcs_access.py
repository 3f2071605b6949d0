"""What credentials may not do in a bucket, and what is wrong with them, in one line before any work."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.audit import command as audit_command
from pipelines.common.cli import UsageError
from pipelines.prepare import command as prepare_command
from pipelines.score import command as score_command
from pipelines.show import command as show_command
from pipelines.storage.gcs_access import require_readable, require_writable
from pipelines.verify import command as verify_command
from tests.support.commands import Command
from tests.support.gcs import Environment, local_gcs, open_bucket, service_account
from tests.support.gcs_faults import Plan, Refuse, Rule
from tests.support.inputs import require_images

BUCKET = "clinic"
IMAGE = "images/ISIC_0000000.jpg"
LIST, LOOK = r"^GET /storage/v1/b/clinic/o\?", r"^GET /storage/v1/b/clinic/o/"
CREATE, DELETE = r"^POST /upload/", r"^DELETE "
NO_ACCESS = "nurse@clinic.example does not have storage.objects.{} access to the Google Cloud Storage bucket."


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    with local_gcs(tmp_path_factory.mktemp("gcs"), BUCKET) as environment, pytest.MonkeyPatch.context() as patch:
        open_bucket(environment, BUCKET).blob(IMAGE).upload_from_string(b"an image")
        for name, value in environment.items():
            patch.setenv(name, value)
        yield environment


@pytest.fixture
def refuse(served: Environment) -> Iterator[Callable[..., Any]]:
    """Says what is refused, and how."""

    def plan(pattern: str, status: int, message: str) -> None:
        served.faults = Plan(Rule("refused", pattern, [Refuse(status, message)] * 99))

    yield plan
    served.faults = Plan()


def objects(served: Environment) -> list[str]:
    return [blob.name for blob in open_bucket(served, BUCKET).list_blobs()]


@pytest.mark.parametrize("place", ["", "/", "/images", "/images/*.jpg", f"/{IMAGE}", "/nothing", "/a.zip!/m.csv"])
def test_what_may_be_read_and_written_passes(served: Environment, place: str) -> None:
    require_readable("--input", f"gs://{BUCKET}{place}")
    require_writable("--output", f"gs://{BUCKET}/out")
    require_writable("--output", f"gs://{BUCKET}")
    require_readable("--input", "data/images")
    require_writable("--output", "s3://bucket/out")
    assert objects(served) == [IMAGE]


def test_a_place_costs_two_requests_and_nothing_is_asked_of_the_bucket(served: Environment) -> None:
    served.requests.clear()
    require_readable("--input", f"gs://{BUCKET}/images")
    asked = [request for request in served.requests if not request.startswith(f"GET /storage/v1/b/{BUCKET}?")]
    assert len(asked) == 2
    served.faults = Plan(Rule("storage.buckets.get", rf"^GET /storage/v1/b/{BUCKET}\?", [Refuse(403)] * 99))
    require_writable("--output", f"gs://{BUCKET}/out")


REFUSALS = {
    "list": (
        LIST,
        403,
        NO_ACCESS.format("list"),
        "may not list objects in clinic (nurse@",
        "roles/storage.objectViewer",
    ),
    "get": (LOOK, 403, NO_ACCESS.format("get"), "may not read objects in clinic (nurse@", "roles/storage.objectViewer"),
    "create": (CREATE, 403, NO_ACCESS.format("create"), "may not create objects in clinic", "roles/storage.objectUser"),
    "delete": (DELETE, 403, NO_ACCESS.format("delete"), "may not delete objects in clinic", "roles/storage.objectUser"),
    "requester pays": (
        *(LIST, 400, "Bucket is a requester pays bucket but no user project provided."),
        *("clinic bills who reads it (requester pays)", "copy what you need"),
    ),
    "project": (
        *(LIST, 403, "Caller does not have required permission to use project nowhere. Grant the caller the role"),
        *("the project that is to be billed is not accepted", "GOOGLE_CLOUD_QUOTA_PROJECT"),
    ),
    "no such project": (
        *(LIST, 400, "Unknown project id: nowhere"),
        *("the project that is to be billed is not accepted (Unknown project id: nowhere)", "set-quota-project"),
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_of_the_store_is_one_line_with_a_way_out(
    served: Environment, refuse: Callable[..., Any], name: str
) -> None:
    pattern, status, message, says, way_out = REFUSALS[name]
    refuse(pattern, status, message)
    with pytest.raises(UsageError) as raised:
        require_writable("--output", f"gs://{BUCKET}/images")
    (line,) = str(raised.value).splitlines()
    assert line.startswith(f"--output gs://{BUCKET}/images: {says}")
    assert way_out in line
    assert "http" not in line
    assert objects_unchanged(served)


def objects_unchanged(served: Environment) -> bool:
    served.faults = Plan()
    return objects(served) == [IMAGE]


@pytest.mark.parametrize("place", ["gs://", "gs:///images", "gs://cli*/images"])
def test_a_place_without_a_bucket(place: str) -> None:
    with pytest.raises(UsageError, match="names no bucket"):
        require_readable("--input", place)


def test_a_list_of_paths_is_checked_for_each_bucket(served: Environment, tmp_path: Path) -> None:
    lines = tmp_path / "list.txt"
    lines.write_text(f"gs://{BUCKET}/{IMAGE}\ngs://{BUCKET}/missing.jpg\n")
    require_images("--input", str(lines))
    lines.write_text(f"gs://{BUCKET}/{IMAGE}\ngs://nowhere/a.jpg\ngs://nowhere/b.jpg\n")
    with pytest.raises(UsageError) as raised:
        require_images("--input", str(lines))
    assert str(raised.value).startswith(f"--input {lines}: lists gs://nowhere/a.jpg: there is no bucket nowhere;")


HERE = f"gs://{BUCKET}"
DECIDE = ["--input", f"{HERE}/images", "--output", f"{HERE}/out"]
SCORE = ["--input", f"{HERE}/images", "--model", f"{HERE}/model", "--output", f"{HERE}/out"]
DATAFLOW = ["--runner=DataflowRunner", "--project=p", "--region=r", f"--temp_location={HERE}/temp"]
COMMANDS = {
    "prepare": (prepare_command.main, DECIDE, ["--input", "--metadata", "--output", "--classes", "--splits_file"]),
    "prepare on Dataflow": (prepare_command.main, [*DECIDE, *DATAFLOW], ["--temp_location", "--staging_location"]),
    "audit": (audit_command.main, DECIDE, ["--input", "--metadata", "--output", "--splits_from"]),
    "score": (score_command.main, SCORE, ["--input", "--model", "--output", "--previous"]),
    "verify": (verify_command.main, [f"{HERE}/dataset"], ["--against"]),
    "show": (show_command.main, [f"{HERE}/dataset"], ["--output"]),
}


@pytest.mark.parametrize(("name", "option"), [(name, option) for name in COMMANDS for option in COMMANDS[name][2]])
def test_every_option_names_its_bucket(served: Environment, name: str, option: str) -> None:
    main, arguments, _ = COMMANDS[name]
    file = {"--classes": "/classes.json", "--splits_file": "/s.csv"}.get(
        option, "/sheet.png" if name == "show" else "/x"
    )
    value = f"gs://no-bucket{file}"
    with pytest.raises(UsageError) as raised:
        main([*arguments, option, value])
    assert str(raised.value).startswith(f"{option} {value}: there is no bucket no-bucket; ")
    assert objects_unchanged(served)


@pytest.mark.parametrize("main", [verify_command.main, show_command.main])
def test_a_dataset_in_no_bucket(served: Environment, main: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match=r"^DATASET gs://no-bucket/x: there is no bucket"):
        main(["gs://no-bucket/x", "--output", "sheet.png"][: 3 if main is show_command.main else 1])


@pytest.mark.parametrize(
    ("main", "arguments", "says"),
    [
        (
            prepare_command.main,
            ["--input", f"{HERE}/nothing", "--output", f"{HERE}/out"],
            "^--input gs://clinic/nothing: .*no image",
        ),
        (
            audit_command.main,
            ["--input", f"{HERE}/no*.jpg", "--output", f"{HERE}/out"],
            r"^--input gs://clinic/no\*.jpg: .*no image",
        ),
        (verify_command.main, [f"{HERE}/nothing"], f"DATASET {HERE}/nothing: no such folder, or nothing in it"),
        (show_command.main, [HERE, "--output", f"{HERE}/sheet.png"], f"--output {HERE}/sheet.png: lies in the dataset"),
        (
            show_command.main,
            [f"{HERE}/d", "--output", f"{HERE}/{IMAGE}"],
            f"--output {HERE}/{IMAGE}: exists; add --overwrite",
        ),
    ],
)
def test_other_mistakes_about_places_are_told_as_elsewhere(
    served: Environment, main: Callable[..., Any], arguments: list[str], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        main(arguments)
    assert objects_unchanged(served)


@contextlib.contextmanager
def refusing_tokens() -> Iterator[Any]:
    """A server that gives no token, as Google's when a key was withdrawn; gives its port."""

    class Refuse(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}).encode()
            self.send_response(400)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refuse)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def test_credentials_that_the_store_refuses(
    served: Environment, refuse: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # To the emulator the client goes without credentials, to this address with them.
    monkeypatch.setenv("API_ENDPOINT_OVERRIDE", served["STORAGE_EMULATOR_HOST"])
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    refuse(LIST, 401, "Invalid Credentials")
    with pytest.raises(
        UsageError, match=r"Google does not accept the credentials \(Invalid Credentials\); run gcloud auth"
    ):
        require_readable("--input", f"gs://{BUCKET}/images")


def nowhere(tmp_path: Path, key: Path | str = "") -> dict[str, str]:
    """The environment of a user of Google's own service, as far as it is reached: without credentials it is not."""
    return {
        "HOME": str(tmp_path),
        "NO_GCE_CHECK": "true",
        "STORAGE_EMULATOR_HOST": "",
        "GOOGLE_CLOUD_PROJECT": "clinic",
        "GOOGLE_APPLICATION_CREDENTIALS": str(key),
    }


def test_credentials_that_are_missing_or_refused(
    served: Environment, refuse: Callable[..., Any], process: Command, tmp_path: Path
) -> None:
    """As a command: with neither a traceback nor Beam's half a minute of looking for credentials."""
    given = ("pipelines.prepare", "--input", f"gs://{BUCKET}/images", "--output", tmp_path / "out")
    refuse(LIST, 401, "Anonymous caller does not have storage.objects.list access")
    here = {"API_ENDPOINT_OVERRIDE": served["STORAGE_EMULATOR_HOST"]}
    ends = [process(*given, *more, env={**nowhere(tmp_path), **here}) for more in ([], ["--no_auth"])]
    with refusing_tokens() as port:
        ends.append(process(*given, env=nowhere(tmp_path, service_account(tmp_path, port))))
    login = "gcloud auth application-default login"
    says = [
        ("no credentials for Google Cloud (Your default credentials were not found), and clinic is not open", login),
        ("clinic is not open to everyone; leave --no_auth out", ""),
        ("Google does not accept the credentials (invalid_grant", login),
    ]
    for end, (text, way_out) in zip(ends, says, strict=True):
        assert end.returncode == 2, end.stderr
        assert f"pipelines.prepare: error: --input gs://{BUCKET}/images: {text}" in end.stderr
        assert "Traceback" not in end.stderr
        assert way_out in end.stderr
    assert not (tmp_path / "out").exists()
