"""Build the content of audit.json from totals and bounded lists of examples."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pipelines.audit import findings
from pipelines.audit.findings import Conflict, IdConflict, NearPictures
from pipelines.audit.label_errors import LabelError, error_json, threshold
from pipelines.audit.leakage import LeakedGroup, leak_json
from pipelines.audit.options import AuditOptions
from pipelines.common.text import printable
from pipelines.curation import value_counts
from pipelines.curation.corrections import Correction
from pipelines.curation.id_conflicts import ID_CONFLICT
from pipelines.curation.not_understood import nearest_class
from pipelines.dataset.accounting import check_sums, describe_beside
from pipelines.dataset.image_row import DUPLICATE, MASK, REJECTED, USABLE, ImageRow, Place, place_of
from pipelines.domain.dataset_json import SPLITS
from pipelines.domain.identities import ANYWHERE, ARCHIVE, SOURCE
from pipelines.domain.quality_issues import ISSUES, PIXEL_ISSUES

SCHEMA_VERSION = 1


class Evidence(NamedTuple):
    """Everything an audit has gathered: totals with few keys each, and bounded, sorted lists of examples."""

    listed: Mapping[Any, int]  # see `list_images.CountListed`
    totals: Mapping[Any, int]  # see `findings.tally_finding`
    identities: Mapping[Any, int]  # see `CountIdentities`
    values: Mapping[str, Sequence[tuple[str, int]]]  # kind -> (value, files), most frequent first
    # The smallest and the largest image as (pixels, width, height), each in a list of at most one.
    sizes: Sequence[Sequence[tuple[int, int, int]]]
    groups: Mapping[str, int]  # split -> number of groups
    conflict_pairs: Mapping[tuple[str, ...], tuple[int, int]]  # conflicting classes -> (images, files)
    leaks: Mapping[Any, int]  # "groups" -> leaked groups; ("files", split) -> files of these groups in the split
    near: Mapping[str, int]  # see `groups.FindNear`
    other_label: int  # near-duplicate pairs under different labels
    problem: str  # see `sharding.FindProblem`; empty for none
    rejects: Sequence[ImageRow]
    duplicates: Sequence[ImageRow]
    numbered: Sequence[str]
    conflict_examples: Sequence[Conflict]
    id_conflicts: int  # ids with different pictures
    id_conflict_examples: Sequence[IdConflict]
    mask_examples: Sequence[ImageRow]
    frequent_lesions: Sequence[Mapping[str, Any]]  # see `frequent_lesions.frequent_among`
    corrections: Mapping[str, Correction]  # see `corrections.read_corrections`
    leak_examples: Sequence[LeakedGroup]
    near_examples: Sequence[NearPictures]
    worst: Mapping[str, Sequence[ImageRow]]  # issue of quality -> images, worst first
    confidence: Mapping[Any, int]  # see `label_errors.tally_confidence`
    error_pairs: Mapping[tuple[str, str], int]  # (label, suggested class) -> images
    error_examples: Sequence[LabelError]

    def places(self) -> dict[str, Place]:
        """Return the files that show the images of the examples.

        Returns:
            The place of each file, keyed by its path as the report prints it.
        """
        found = [place for conflict in self.conflict_examples for place in conflict.places]
        found += [place for conflict in self.id_conflict_examples for place in conflict.places]
        found += map(place_of, self.mask_examples)
        found += [place for leak in self.leak_examples for _, place in leak.files]
        found += [place_of(row) for rows in self.worst.values() for row in rows]
        found += [error.place for error in self.error_examples]
        found += [side.place for pair in self.near_examples for side in (pair.first, pair.second)]
        # Open the duplicate itself instead of the kept file: both show the same image.
        shown = {printable(row.image_of): place_of(row) for row in self.duplicates}
        return shown | {printable(place.path): place for place in found}


def _sources(evidence: Evidence, options: AuditOptions) -> list[dict[str, Any]]:
    described = []
    for source in options.sources:
        counts = {
            outcome: evidence.totals.get(("source", source.name, outcome), 0)
            for outcome in (USABLE, DUPLICATE, REJECTED)
        }
        described.append(
            {
                **source.as_json(),
                "layout": source.read_as(),
                "listed": sum(counts.values()),
                "usable": counts[USABLE],
                "duplicates": counts[DUPLICATE],
                "rejected": counts[REJECTED],
            }
        )
    return described


def _per_class(totals: Mapping[Any, int], classes: Sequence[str]) -> list[dict[str, Any]]:
    sources: dict[str, dict[str, int]] = defaultdict(dict)
    splits: dict[str, dict[str, int]] = defaultdict(dict)
    for key in sorted(key for key in totals if key[0] in ("class", "split")):
        kind, label, name = key
        (sources if kind == "class" else splits)[label][name] = totals[key]
    return [
        {
            "class": name,
            "usable": sum(sources[name].values()),
            "sources": sources[name],
            "splits": {split: splits[name].get(split, 0) for split in SPLITS},
        }
        for name in classes
    ]


def _rejects(totals: Mapping[Any, int], examples: Iterable[ImageRow]) -> list[dict[str, Any]]:
    shown: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    for row in examples:
        shown[row.stage, row.reason].append({"path": printable(row.path), "message": row.message})
    counted = {key[1:]: totals[key] for key in totals if key[0] == "reason" and key[1] != "deduplicate"}
    return [
        {"stage": stage, "reason": reason, "files": files, "examples": shown[stage, reason]}
        for (stage, reason), files in sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    ]


def _identity(identities: Mapping[Any, int], kind: str) -> dict[str, Any]:
    def reaching(reach: str) -> int:
        return identities.get(("reach", kind, reach), 0)

    return {
        "distinct": identities.get(("distinct", kind), 0),
        "with_several_images": identities.get(("several", kind), 0),
        "images": identities.get(("with", kind), 0),
        "ids": {
            "known": identities.get(("ids", kind), 0),
            "of_the_archive": reaching(ARCHIVE),
            "numbers_of_one_source": reaching(SOURCE),
            "the_same_anywhere": reaching(ANYWHERE),
        },
    }


def _conflicts(evidence: Evidence) -> dict[str, Any]:
    pairs = sorted(evidence.conflict_pairs.items(), key=lambda item: (-item[1][0], item[0]))
    return {
        "images": sum(images for _, (images, _) in pairs),
        "files": sum(files for _, (_, files) in pairs),
        "pairs": [{"labels": list(labels), "images": images, "files": files} for labels, (images, files) in pairs],
        "examples": list(map(findings.conflict_json, evidence.conflict_examples)),
    }


def _files_of(totals: Mapping[Any, int], reason: str) -> int:
    return sum(totals[key] for key in totals if key[0] == "reason" and key[2] == reason)


def _sizes(evidence: Evidence) -> dict[str, Any]:
    smallest, largest = evidence.sizes
    common = [(*map(int, size.split()), files) for size, files in evidence.values.get("size", ())]
    return {
        "smallest": list(smallest[0][1:]) if smallest else None,
        "largest": list(largest[0][1:]) if largest else None,
        "common": [{"width": width, "height": height, "files": files} for width, height, files in common],
        "formats": {key[1]: evidence.totals[key] for key in sorted(evidence.totals) if key[0] == "format"},
    }


def _quality(evidence: Evidence) -> dict[str, Any]:
    def example(row: ImageRow, issue: str) -> dict[str, Any]:
        scores = dict(zip(PIXEL_ISSUES, row.quality, strict=True))
        shown = {"score": scores[issue]} if issue in scores else {"width": row.width, "height": row.height}
        return {"id": row.image_id, "path": printable(row.path), **shown}

    return {
        "files": evidence.totals.get(("with issue",), 0),
        "issues": [
            {
                "issue": issue,
                "files": evidence.totals["issue", issue],
                "examples": [example(row, issue) for row in evidence.worst[issue]],
            }
            for issue in ISSUES
            if issue in evidence.worst
        ],
    }


def _label_errors(evidence: Evidence, options: AuditOptions, usable: int) -> dict[str, Any] | None:
    if not options.predictions:
        return None
    images = sum(count for key, count in evidence.confidence.items() if key[0] == "images")
    pairs = sorted(evidence.error_pairs.items(), key=lambda item: (-item[1], item[0]))
    predicted = [label for label in range(len(options.classes)) if evidence.confidence.get(("images", label))]
    return {
        "predictions": options.predictions,
        "images": images,
        "without_prediction": usable - images,
        "found": sum(evidence.error_pairs.values()),
        "thresholds": [
            {"class": options.classes[label], "probability": round(threshold(evidence.confidence, label), 4)}
            for label in predicted
        ],
        "pairs": [{"label": label, "suggested": suggested, "images": count} for (label, suggested), count in pairs],
        "examples": list(map(error_json, evidence.error_examples)),
    }


def describe_audit(evidence: Evidence, options: AuditOptions) -> dict[str, Any]:
    """Return the content of audit.json.

    Raises:
        AccountingError: A listed file is unaccounted for or counted twice.
    """
    check_sums(evidence.listed, evidence.totals, findings.OUTCOMES_OF_AUDIT)
    totals, identities = evidence.totals, evidence.identities
    per_class = _per_class(totals, options.classes)
    duplicates = {
        kind: totals.get(("reason", "deduplicate", reason), 0)
        for kind, reason in (("same_bytes", "duplicate"), ("same_image", "same_image"))
    }
    return {
        "schema_version": SCHEMA_VERSION,
        "classes": list(options.classes),
        "options": {"seed": options.seed, **options.decision_settings()},
        "sources": _sources(evidence, options),
        "tables": [table.path for table in options.metadata],
        "counts": {
            "listed": evidence.listed.get(("listed",), 0),
            "ignored": evidence.listed.get(("ignored",), 0),
            "usable": totals.get(("outcome", USABLE), 0),
            "duplicates": totals.get(("outcome", DUPLICATE), 0),
            "rejected": totals.get(("outcome", REJECTED), 0),
            "distinct_ids": identities.get(("ids", findings.IMAGE), 0),
        },
        "beside": describe_beside(evidence.listed),
        "per_class": per_class,
        "splits": {
            split: {
                "images": sum(entry["splits"][split] for entry in per_class),
                "groups": evidence.groups.get(split, 0),
            }
            for split in SPLITS
        },
        "problem": evidence.problem or None,
        "rejects": _rejects(totals, evidence.rejects),
        "unmapped_labels": [
            {"label": label, "files": files, "nearest": nearest_class(label, options.class_set) or None}
            for label, files in evidence.values.get(value_counts.UNMAPPED_LABEL, ())
        ],
        "duplicates": {
            **duplicates,
            "examples": [
                {"path": printable(row.path), "kept": printable(row.image_of), "reason": row.reason}
                for row in evidence.duplicates
            ],
        },
        "repeated_names": {"files": totals.get(("numbered",), 0), "examples": list(evidence.numbered)},
        "lesions": {**_identity(identities, findings.LESION), "frequent": list(evidence.frequent_lesions)},
        "patients": _identity(identities, findings.PATIENT),
        "conflicts": _conflicts(evidence),
        "id_conflicts": {
            "images": evidence.id_conflicts,
            "files": _files_of(totals, ID_CONFLICT),
            "examples": list(map(findings.id_conflict_json, evidence.id_conflict_examples)),
        },
        "masks": {
            "files": _files_of(totals, MASK),
            "examples": list(map(findings.mask_json, evidence.mask_examples)),
        },
        "corrections": [
            {"image": name, "action": said.action, "label": said.label, "finding": said.finding}
            for name, said in sorted(evidence.corrections.items())
        ],
        "leakage": {
            "given": {split: totals.get(("given", split), 0) for split in SPLITS},
            "groups": evidence.leaks.get("groups", 0),
            "files": {split: evidence.leaks.get(("files", split), 0) for split in SPLITS},
            "examples": list(map(leak_json, evidence.leak_examples)),
        },
        "near_duplicates": {
            **evidence.near,
            "other_label": evidence.other_label,
            "examples": list(map(findings.near_json, evidence.near_examples)),
        },
        "quality": _quality(evidence),
        "label_errors": _label_errors(evidence, options, totals.get(("outcome", USABLE), 0)),
        "sizes": _sizes(evidence),
        "licenses": [{"license": name, "files": files} for name, files in evidence.values.get("license", ())],
    }
