"""The card of a model, as Markdown: what it saw, its skill, where not to use it, how to cite it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

SHOWN = 40
"""Gauges that are listed at most; ``model.json`` lists all."""


def text(content: Mapping[str, Any]) -> str:
    """Return the card that the content of ``model.json`` makes."""
    parts = (_head, _use, _saw, _never_saw, _skill, _not_for, _cite, _made)
    return "\n\n".join("\n".join(part(content)) for part in parts) + "\n"


def _head(content: Mapping[str, Any]) -> Iterator[str]:
    yield f"# {content['name']}"
    yield ""
    if content["description"]:
        yield f"{content['description']}\n"
    own = content["weights"]["model"]
    yield f"{own['parameters']:,} parameters, {own['dtype']}, {own['bytes'] / 1e6:.1f} MB."
    for name, record in content["weights"].items():
        if record is not own:
            yield f"Beside them: {name}, {record['parameters']:,} parameters in `{record['file']}`."
    if content["parent"]:
        parent = content["parent"]
        yield f"Fine-tuned from **{parent['name']}** (weights {parent['weights_fingerprint'][:12]})."


def _use(content: Mapping[str, Any]) -> Iterator[str]:
    yield "## Use\n"
    yield "```console"
    yield f"$ watercli simulate --model {content['name']} --store store.zarr --out flow.zarr"
    yield "```\n"
    yield "Names and units of the store may differ; the first table that the command prints says what is read."


def _saw(content: Mapping[str, Any]) -> Iterator[str]:
    checkpoint = content["checkpoint"]
    held_out = set(checkpoint["held_out_gauges"])
    seen = [gauge for gauge in checkpoint["gauges"] if gauge not in held_out]
    yield "## What it saw\n"
    yield from (f"- {what} {_days(checkpoint, split)}" for what, split in (
        ("Training:", "train"), ("Chosen on:", "validation")) if split in checkpoint["splits"])  # fmt: skip
    yield f"- {_count(len(seen), 'gauge')}: {_listed(seen)}"
    yield f"- Store: fingerprint `{content['data']['fingerprint'][:12]}`\n"
    rows = [
        (name, item["kind"], item["units"], _necessity(item), item["long_name"])
        for name, item in content["inputs"]["modalities"].items()
    ]
    yield from _table(("modality", "kind", "units", "", "meaning"), rows)
    attributes = content["inputs"]["attributes"]
    if attributes:
        yield "\nAttributes, and the range of them that it saw:\n"
        yield from _table(
            ("attribute", "units", "least", "greatest"),
            [(name, item["units"] or "", *_ends(item)) for name, item in attributes.items()],
        )


def _necessity(item: Mapping[str, Any]) -> str:
    """Return in words whether a modality may be absent from a store."""
    if item.get("predicted"):
        return "predicted"
    return "may be absent" if item["optional"] else "needed"


def _never_saw(content: Mapping[str, Any]) -> Iterator[str]:
    checkpoint = content["checkpoint"]
    yield "## What it never saw\n"
    if "test" in checkpoint["splits"]:
        yield f"- The test period, {_days(checkpoint, 'test')}."
    held_out = checkpoint["held_out_gauges"]
    if held_out:
        yield f"- The flow of {_count(len(held_out), 'held-out gauge')}: {_listed(held_out)}."
    yield "- Any gauge that is not listed above or in `model.json`."


def _skill(content: Mapping[str, Any]) -> Iterator[str]:
    scores = content["scores"]
    evaluation = scores["evaluation"]
    yield "## Skill\n"
    if scores["validation_nse"] is not None:
        yield f"Validation: median NSE {scores['validation_nse']:.3f} of simulated series."
    if evaluation is None:
        yield "The run had no evaluation on the test period when the model was exported."
        return
    period = evaluation["period"]
    gauges = "gauges whose flow it never saw" if evaluation["ungauged"] else "gauges of the training"
    yield f"\nMedian NSE of {evaluation['target']}, {period['start']} to {period['end']}, at {gauges}:\n"
    methods = list(evaluation["all"]["median_nse"])
    rows = [
        (row["what"], row["class"], row["catchments"], *(_number(row["median_nse"].get(name)) for name in methods))
        for row in [{"what": "all", "class": "", **evaluation["all"]}, *evaluation["by"]]
    ]
    labels = [evaluation["labels"].get(name, name) for name in methods]
    yield from _table(("", "", "catchments", *labels), rows)


def _not_for(content: Mapping[str, Any]) -> Iterator[str]:
    yield "## Where not to use it\n"
    yield (
        "- Where an attribute lies outside its range above: the model takes it for the nearest in it, and exports flag "
        "it."
    )
    needed = [name for name, item in content["inputs"]["modalities"].items() if _necessity(item) == "needed"]
    yield f"- Where what it needs is not known: {', '.join(needed)}."
    yield (
        "- Where people move the water, by dams, abstractions, transfers, unless gauges of the training were so: no "
        "input tells it of them."
    )
    yield "- For decisions on floods, droughts or safety without a check against local observations."


def _cite(content: Mapping[str, Any]) -> Iterator[str]:
    yield "## How to cite it, and licences of its data\n"
    yield f"- watercli {content['checkpoint']['versions']['watercli']}, model {content['name']}, weights " + (
        f"SHA-256 `{content['weights']['model']['sha256'][:12]}`."
    )
    datasets = content["data"]["datasets"]
    for name, item in datasets.items():
        yield f"- {name} ({item['licence']}): {item['citation']}"
    if not datasets:
        yield "- The recipe (`recipe.datasets`) does not state licences and citations of the data."


def _made(content: Mapping[str, Any]) -> Iterator[str]:
    training, versions = content["training"], content["checkpoint"]["versions"]
    yield "## How it was made\n"
    yield f"- {training['steps']:,} steps of {_count(training['batch_size'], 'window')}, seed {training['seed']}"
    if training["seconds"] is not None:
        yield f"- Training steps took {_duration(training['seconds'])}"
    if training["hardware"]:
        yield f"- Hardware: {_hardware(training['hardware'])}"
    yield "- " + ", ".join(f"{name} {version}" for name, version in versions.items())


def _days(checkpoint: Mapping[str, Any], split: str) -> str:
    period = checkpoint["splits"][split]
    return f"{period['start']} to {period['end']}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _listed(gauges: Sequence[str]) -> str:
    return ", ".join(gauges[:SHOWN]) + (", ..." if len(gauges) > SHOWN else "")


def _ends(item: Mapping[str, Any]) -> tuple[str, str]:
    return _number(item["least"]), _number(item["most"])


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"


def _hardware(hardware: Mapping[str, Any]) -> str:
    gpus = hardware["gpus"]
    cpu = f"{hardware['cpu']}, {_count(hardware['cores'], 'core')}"
    return ", ".join((*gpus, cpu)) if gpus else cpu


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + " --- |" * len(head)
    for row in rows:
        yield f"| {' | '.join(map(str, row))} |"
