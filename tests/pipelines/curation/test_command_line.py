"""The command line that prepare and audit share: licences."""

from __future__ import annotations

import pytest

from pipelines.common.cli import UsageError
from pipelines.prepare.options import parse_options


@pytest.mark.parametrize("value", ["", " ", ",,"])
def test_no_licence_is_not_all_licences(value: str) -> None:
    with pytest.raises(UsageError, match=r"--licenses .*: names no licence; leave the option out"):
        parse_options(["--input", "in", "--output", "out", "--licenses", value])
    options, _ = parse_options(["--input", "in", "--output", "out", "--licenses", " CC-0,,cc by"])
    assert options.licenses == ("CC-0", "cc by")
