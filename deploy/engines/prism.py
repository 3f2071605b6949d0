"""Run Prism, Beam's local runner in Go, as a job server on this machine (`python -m deploy.engines.prism`)."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from deploy.engines.downloads import GoModule, build_go_program, download_once
from deploy.engines.engine import Engine, serve, start_workers
from deploy.engines.processes import Services, free_ports, listens

# The release of Beam in requirements/.
RELEASE = "2.77.0"
BEAM = GoModule("github.com/apache/beam/sdks/v2", f"v{RELEASE}", "h1:RsC61pHEvtySEHAURQyP/+CVOJm/hy5hewuG9JF0+Ow=")


def download_prism() -> Path:
    """Return Prism's binary, built on first use."""
    folder = download_once(f"prism-{RELEASE}", lambda folder: build_go_program(BEAM, "go/cmd/prism", folder))
    return folder / "prism"


@contextlib.contextmanager
def running_prism(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[Engine]:
    """Run Prism and a pool of our workers as long as the block.

    Its services are `prism` and `workers`.

    Args:
        folder: Where logs go; new.
        environment: What the workers' environment has besides.
    """
    binary = download_prism()
    job_port, web_port = free_ports(2)
    with Services(folder) as services:
        command = [str(binary), "--job_port", str(job_port), "--web_port", str(web_port), "--log_kind", "text"]
        services.start("prism", command, lambda: listens(job_port))
        workers = start_workers(services, environment)
        job_server = ["--runner", "PortableRunner", "--job_endpoint", f"localhost:{job_port}"]
        yield Engine(services, f"http://localhost:{web_port}", [*job_server, *workers])


if __name__ == "__main__":
    sys.exit(serve("prism", running_prism))
