from dataclasses import replace

import fabricate
import numpy as np

from actionrec.evaluation.predictions import pooled

LOGITS = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
CLIPS = [f"a/{number}.avi" for number in range(6)]


def made(**changes):
    return fabricate.predictions(CLIPS, np.arange(6) % 3, ["val"] * 2 + ["test"] * 4, LOGITS, seeds=(0, 4), **changes)


def test_correct_answers_are_those_of_each_seed():
    predictions = made()
    test = predictions.test
    assert np.array_equal(predictions.correct(), np.argmax(test.seed_logits, axis=2) == test.labels)
    assert predictions.correct().shape == (2, 4)


def test_folds_are_pooled_by_clip_and_the_saved_fold_keeps_its_own():
    saved, other = made(), made()
    rolled = replace(other.answers, logits=np.roll(LOGITS, 1, axis=1))
    subsets = np.array(["test", "train", "test", "val", "val", "val"])
    other = replace(other, answers=rolled, subsets=subsets, folds=np.full(6, 2), saved_fold=2)
    both = pooled(saved, [other])
    assert pooled(saved, []) is saved
    assert list(zip(both.answers.clips, both.subsets, both.folds.tolist(), strict=True)) == [
        (CLIPS[0], "val", 0),
        (CLIPS[0], "test", 2),
        (CLIPS[1], "val", 0),
        (CLIPS[2], "test", 0),
        (CLIPS[2], "test", 2),
        *((clip, "test", 0) for clip in CLIPS[3:]),
    ]
    assert np.array_equal(both.test.logits[both.test_folds == 2], np.roll(LOGITS, 1, axis=1)[[0, 2]])
    assert np.array_equal(both.val.logits, LOGITS[:2])
    for mine, own in ((both.saved_test, saved.test), (both.val, saved.val)):
        assert np.array_equal(mine.seed_logits, own.seed_logits)
        assert all(np.array_equal(mine.changed[change], own.changed[change]) for change in own.changed)
