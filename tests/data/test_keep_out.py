"""Classes kept out of the shots: no method sees a label of them, and the tables tell what became of them."""

import numpy as np
import pytest
import torch
from rivals import READERS
from shapes import SHAPES, SPACE
from tiny import tiny_segmenter

import promptseg
from promptseg.data.few_shot import draw_shots
from promptseg.data.keep_out import keep_out
from promptseg.data.sample import Dataset, Split
from promptseg.errors import PromptsegError
from promptseg.experiments.compare import compare
from promptseg.experiments.plan import Plan, Variant
from promptseg.experiments.results import group_by_seed, summary_table
from promptseg.label_space import IGNORE

DATA = Dataset(
    "shapes", SPACE, Split(SHAPES[:4], "shapes", "train"), Split(SHAPES[4:], "shapes", "val"), Split([], "", "")
)
FEW = {"steps": 2, "batch_size": 2}


def test_the_shots_are_the_same_photos_without_the_labels() -> None:
    whole = draw_shots(DATA.train, 2)
    shots = keep_out(whole, ["car"])
    assert shots.ids == whole.ids and shots.draw.kept_out == ("car",) and shots.label_space == SPACE
    for sample, before in zip(shots, whole, strict=True):
        labels = before.semantic()
        assert np.array_equal(sample.image(), before.image())
        assert np.array_equal(sample.semantic(), np.where(labels == 1, IGNORE, labels)) and (labels == 1).any()
    assert keep_out(whole, []) is whole


@pytest.mark.parametrize(
    ("names", "message"), [(["boat"], "unknown class 'boat'"), (SPACE.names, "all 3 classes are kept out")]
)
def test_what_cannot_be_kept_out_is_one_line(names, message: str) -> None:
    with pytest.raises(PromptsegError, match=message):
        keep_out(draw_shots(DATA.train, 2), names)
    plan = Plan((Variant("zero-shot"),), (2,), (0,), keep_out=tuple(names))
    with pytest.raises(PromptsegError, match=message):
        compare(tiny_segmenter(), [DATA], plan, "never-written", say=lambda _: None)
    with pytest.raises(PromptsegError, match="kept out of label maps, but the task is panoptic"):
        Plan((Variant("zero-shot"),), task="panoptic", keep_out=("car",))
    with pytest.raises(PromptsegError, match="kept out of label maps only"):
        keep_out(draw_shots(DATA.train, 2), ["car"])[0].panoptic()


def test_a_table_tells_the_classes_that_were_shown_from_the_others(tmp_path) -> None:
    model = tiny_segmenter()
    variants = tuple(Variant(method) for method in ("zero-shot", "semprompt", "ssf", *READERS))
    outcomes = {}
    for kept_out in ((), ("car",)):
        plan = Plan(variants, (2,), (0,), FEW, keep_out=kept_out)
        outcomes[kept_out] = compare(model, [DATA], plan, tmp_path / str(len(kept_out)), say=lambda _: None)
        assert all(outcome.score is not None for outcome in outcomes[kept_out])
    table = summary_table(group_by_seed(outcomes["car",]), kept_out=("car",))
    place = table.headers.index("shown")
    assert table.headers[place + 1] == "kept out"
    for row, outcome in zip(table.rows, outcomes["car",], strict=True):
        score = outcome.score.per_class
        shown = [100 * score[name] for name in ("ground", "sky") if score[name] is not None]
        assert row[place] == f"{sum(shown) / len(shown):.1f}" and row[place + 1] == f"{100 * score['car']:.1f}"
    by_name = {key: {o.trial.variant: o.score.per_class["car"] for o in value} for key, value in outcomes.items()}
    assert by_name[()]["zero-shot"] == by_name["car",]["zero-shot"]
    assert by_name[()]["linear"] > 0.8 and by_name["car",]["linear"] == by_name["car",]["prototype"] == 0
    with pytest.raises(PromptsegError, match="other keep_out"):
        compare(model, [DATA], Plan(variants, (2,), (0,), FEW), tmp_path / "1", say=lambda _: None)


def test_the_gradient_of_a_kept_out_class_is_that_of_no_label() -> None:
    model = tiny_segmenter()
    shots = keep_out(draw_shots(DATA.train, 2), ["car"])
    run = promptseg.fit(
        model, shots, method="semprompt", progress=False, weight=1.0, start="copy", optimizer="sgd", **FEW
    )
    assert run.record.draw.kept_out == ("car",)
    assert torch.isfinite(run.prompts.kinds["semantic"]).all()
