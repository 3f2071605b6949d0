"""python -m pipelines.score: an archive of images -> scores.

list -> read and check -> RunInference -> write scores and rejects -> account
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.metrics import Metrics
from apache_beam.ml.inference.base import KeyedModelHandler, RunInference
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines import account, images, output, rows, sources, storage, tables
from pipelines.cli import UsageError, run_command, start_tensorflow
from pipelines.inference import LesionModelHandler, LoadedModel
from pipelines.model_info import ModelInfo, read_model_info
from pipelines.parallel import ThreadedDoFn, default_threads
from pipelines.rows import REJECTED
from pipelines.runner import beam_options, local_worker_processes, quiet_beam
from pipelines.score_options import ScoreOptions, parse_options

MARKER = "summary.json"
OWN_FILES = re.compile(r"(scores|rejects)-\d{5}-of-\d{5}\.(parquet|jsonl)$|summary\.json$")
SCORED = "scored"


class ScoreRow(NamedTuple):
    """One listed file: with probabilities when `outcome` is `scored`, with stage, reason and message when rejected."""

    path: str
    relative: str
    image_id: str
    sha256: str = ""
    width: int = 0
    height: int = 0
    probabilities: tuple[float, ...] = ()
    outcome: str = ""
    stage: str = ""
    reason: str = ""
    message: str = ""

    def rejected(self, stage: str, reason: str, message: str) -> ScoreRow:
        """This row as one without a score, and why."""
        return self._replace(outcome=REJECTED, stage=stage, reason=reason, message=message)


def load_image(listed: sources.ListedFile) -> tuple[ScoreRow, bytes]:
    """Read a file and look at its header; the row has an outcome when it cannot be scored."""
    file = listed.file
    row = ScoreRow(file.path, file.relative, sources.image_id_of(file.relative))
    try:
        data = sources.read_file(file.path, file.member)
    except Exception as error:  # each filesystem raises its own kinds
        return row.rejected("read", "unreadable", sources.failure(error)), b""
    row = row._replace(sha256=hashlib.sha256(data).hexdigest())
    try:
        info = images.read_info(data)
    except images.BadImage as error:
        return row.rejected("check", error.reason, error.message), b""
    return row._replace(width=info.width, height=info.height), data


class _LoadChunk(ThreadedDoFn):
    """Chunk of listed files -> (row, bytes) of what can be scored; output `rejects`: the other rows."""

    def __init__(self, threads: int):
        super().__init__(threads)
        self._listed = Metrics.counter("score", "listed")

    def process(self, element: list[sources.ListedFile]) -> Iterator:
        listed = sources.images_of(element)
        self._listed.inc(len(listed))
        for row, data in self.map_threaded(load_image, listed):
            yield beam.pvalue.TaggedOutput("rejects", row) if row.outcome else (row, data)


def with_result(row: ScoreRow, result: np.ndarray | images.BadImage) -> ScoreRow:
    """The row with what the model said."""
    if isinstance(result, images.BadImage):
        return row.rejected("score", result.reason, result.message)
    return row._replace(probabilities=tuple(float(value) for value in result), outcome=SCORED)


def scores_schema(classes: Sequence[str]) -> pa.Schema:
    """Columns of the scores: one `probability_<class>` per class, in label order."""
    text, number = pa.string(), pa.float32()
    columns = [("path", text), ("image_id", text), ("sha256", text), ("width", pa.int32()), ("height", pa.int32())]
    columns += [(f"probability_{name.replace(' ', '_')}", number) for name in classes]
    columns += [("top_class", text), ("malignancy_score", number), ("model_fingerprint", text)]
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns])


def score_record(row: ScoreRow, model: ModelInfo) -> dict[str, Any]:
    """One line of the scores. malignancy_score: sum of the probabilities of the model's malignant classes."""
    by_class = dict(zip(model.classes, row.probabilities, strict=True))
    return {
        "path": sources.printable(row.path),
        "image_id": row.image_id,
        "sha256": row.sha256,
        "width": row.width,
        "height": row.height,
        **{f"probability_{name.replace(' ', '_')}": value for name, value in by_class.items()},
        "top_class": max(by_class, key=lambda name: by_class[name]),
        "malignancy_score": sum(by_class[name] for name in model.malignant_classes),
        "model_fingerprint": model.fingerprint,
    }


def scores_bytes(scored: Iterable[ScoreRow], model: ModelInfo) -> bytes:
    """Scored rows as a Parquet file."""
    return tables.parquet_bytes((score_record(row, model) for row in scored), scores_schema(model.classes))


def tally_row(row: ScoreRow, classes: Sequence[str]) -> Counter:
    """What one finished row adds to the totals."""
    counts: Counter = Counter({("outcome", row.outcome): 1, ("outcome paths",): account.path_hash(row.path)})
    if row.outcome == SCORED:
        counts["class", classes[int(np.argmax(row.probabilities))]] = 1
    else:
        counts["reason", row.reason] = 1
    return counts


class _Describe(beam.DoFn):
    """Checks the sums and gives the content of summary.json. Its side inputs make it wait for every file."""

    def __init__(self, model: ModelInfo, model_folder: str, started: float):
        self._model = model
        self._model_folder = model_folder
        self._started = started

    def process(self, _: None, listed: Mapping, totals: Mapping, *written: list) -> list[bytes]:
        account.check_sums(listed, totals, (SCORED, REJECTED))
        seconds = time.time() - self._started
        count = listed.get(("listed",), 0)
        summary = {
            "schema_version": 1,
            "counts": {
                "listed": count,
                "ignored": listed.get(("ignored",), 0),
                "scored": totals.get(("outcome", SCORED), 0),
                "rejected": totals.get(("outcome", REJECTED), 0),
            },
            "dropped": account.reasons(totals),
            "top_class": {name: totals.get(("class", name), 0) for name in self._model.classes},
            "model": {
                "path": self._model_folder,
                "fingerprint": self._model.fingerprint,
                "metrics": self._model.metrics,
            },
            "seconds": round(seconds, 2),
            "images_per_second": round(count / seconds, 1),
        }
        return [(json.dumps(summary, indent=2, ensure_ascii=False) + "\n").encode()]


def build(pipeline: beam.Pipeline, options: ScoreOptions, model: ModelInfo, threads: int) -> None:
    """Add the whole job to a pipeline."""
    folder = output.publish_folder(options.output)
    chunks = pipeline | "List images" >> sources.ListImages(options.input)
    listed = chunks | "Listed" >> account.TallyListed()
    loaded = chunks | "Read and check" >> beam.ParDo(_LoadChunk(threads)).with_outputs("rejects", main="images")
    handler: KeyedModelHandler = KeyedModelHandler(LesionModelHandler(options.model, options.batch_size))
    results = (
        loaded.images
        | "Score" >> RunInference(handler)
        | "Rows" >> beam.MapTuple(with_result)
        | "Scored" >> rows.partition(lambda row: row.outcome == SCORED)
    )
    rejected = (loaded.rejects, results[0]) | "Rejected" >> beam.Flatten()
    scores = results[1] | "Scores" >> tables.WriteTable(
        storage.join(folder, "scores-{index:05d}-of-{count:05d}.parquet"), functools.partial(scores_bytes, model=model)
    )
    rejects = rejected | "Rejects" >> tables.WriteTable(
        storage.join(folder, "rejects-{index:05d}-of-{count:05d}.jsonl"), tables.rejects_bytes
    )
    totals = (
        (results[1], rejected)
        | "All rows" >> beam.Flatten()
        | "Count rows" >> beam.Map(tally_row, model.classes)
        | "Sum rows" >> beam.CombineGlobally(account.Tally())
    )
    _ = (
        pipeline
        | "Account" >> beam.Create([None])
        | "Describe"
        >> beam.ParDo(
            _Describe(model, options.model, time.time()),
            beam.pvalue.AsSingleton(listed),
            beam.pvalue.AsSingleton(totals),
            beam.pvalue.AsList(scores),
            beam.pvalue.AsList(rejects),
        )
        | "Publish" >> output.Publish(options.output, OWN_FILES, MARKER)
    )


def require_model(folder: str, model: ModelInfo) -> None:
    """Raise UsageError unless the model can be loaded and fits its description; before anything is written."""
    try:
        LoadedModel(folder).require(len(model.classes))
    except Exception as error:  # TensorFlow raises many kinds on a damaged SavedModel
        detail = (str(error) or error.__class__.__name__).splitlines()[0]
        raise UsageError(f"--model {folder}: cannot be loaded: {detail}") from error


def run(options: ScoreOptions, model: ModelInfo, beam_arguments: PipelineOptions) -> dict[str, Any]:
    """Build and run the job; gives summary.json."""
    threads = options.threads or default_threads(local_worker_processes(beam_arguments))
    start_tensorflow()
    quiet_beam()
    require_model(options.model, model)
    output.begin(options.output)
    with beam.Pipeline(options=beam_arguments) as pipeline:
        build(pipeline, options, model, threads)
    return json.loads(storage.read_if_exists(storage.join(options.output, MARKER)) or b"")


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, validate, run, report. Raises UsageError or LimitExceeded."""
    options, rest = parse_options(argv)
    beam_arguments = beam_options(rest)
    model = read_model_info("--model", options.model)
    for path in options.input:
        sources.require_images("--input", path)
    output.require_output(options.output, MARKER, options.overwrite, [*options.input, options.model])
    summary = run(options, model, beam_arguments)
    counts = summary["counts"]
    print(f"listed {counts['listed']} = scored {counts['scored']} + rejected {counts['rejected']}")
    for reason, count in summary["dropped"].items():
        print(f"  {reason}: {count}")
    print(f"{summary['images_per_second']} images/s, model {model.fingerprint[:16]}")
    print(f"scores {options.output}")
    account.check_reject_fraction(counts, options.max_reject_fraction, options.output)


if __name__ == "__main__":
    # Workers find nothing in __main__: run the importable module instead of this copy of it.
    from pipelines import score

    run_command("pipelines.score", score.main)
