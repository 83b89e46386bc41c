import numpy as np
import pytest

from actionrec.data.clips import Clip
from actionrec.evaluation import leak_audit as auditing
from actionrec.evaluation.leak_audit import DEFAULT_THRESHOLD, audit
from actionrec.features.feature_store import FeatureSet

FRAMES, FEATURE_DIM = 8, 48


def clip(name, label="a", group="g01", sha256=None):
    return Clip(name, label, group, 1, sha256 or f"hash of {name}")


def many(*, classes=4, sources=25, clips_each=4, named=True, spread=0.35, test_sources=5, per_source=True):
    """Clips of several sources, their features, and a split by source (or, else, by clip).

    A clip is its class, plus its source, plus `spread` of its own.
    """
    rng = np.random.default_rng(0)
    clips, features, subsets = [], [], {}
    for label in range(classes):
        look = rng.normal(size=FEATURE_DIM)
        for source in range(sources):
            scene = look + rng.normal(size=FEATURE_DIM)
            for take in range(clips_each):
                name = f"{label}/{source:02}_{take}.avi"
                clips.append(clip(name, str(label), f"g{source:02}" if named else name))
                picture = scene + spread * rng.normal(size=FEATURE_DIM)
                features.append(picture + 0.5 * rng.normal(size=(FRAMES, FEATURE_DIM)))
                subsets[name] = "test" if (source < test_sources if per_source else take == 0) else "train"
    order = np.argsort([one.id for one in clips])
    kept = FeatureSet([clips[place].id for place in order], np.stack(features)[order].astype(np.float16), {})
    return clips, subsets, kept


def test_a_person_in_training_is_a_sibling_in_every_class():
    clips = [clip("train", group="anna"), clip("test 1", label="b", group="anna"), clip("test 2", label="b", group="ben")]
    assert audit(clips, {one.id: one.id.split()[0] for one in clips}).siblings == 1


def test_siblings_and_copies_are_counted():
    clips = [
        clip("train", group="g01", sha256="same"),
        clip("train, v_b_g02_c01 of another class", label="b", group="g02"),
        clip("val", group="g03", sha256="also the same"),
        clip("test, a sibling", group="g01"),
        clip("test, a copy", group="g04", sha256="same"),
        clip("test, v_a_g02_c01, whose group number is another class's", group="g02", sha256="also the same"),
    ]
    found = audit(clips, {one.id: one.id.split()[0].strip(",") for one in clips})
    assert (found.train_clips, found.test_clips) == (2, 3)
    assert (found.siblings, found.copied) == (1, 1)
    assert (found.sibling_share, found.copied_share) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert [(same.clips, same.subsets) for same in found.copies] == [
        (("test, a copy", "train"), ("test", "train")),
        (("test, v_a_g02_c01, whose group number is another class's", "val"), ("test", "val")),
    ]
    assert found.near is None


def test_copies_on_one_side_are_no_leak():
    clips = [clip("a", sha256="same"), clip("b", sha256="same"), clip("c", group="g02")]
    assert audit(clips, {"a": "train", "b": "train", "c": "test"}).copies == ()


def test_a_clean_split_flags_next_to_nothing():
    near = audit(*many()).near
    assert near.test_clips == 4 * 5 * 4
    assert near.unrelated_pairs == 4 * (5 * 4) * (20 * 4)
    assert near.flagged <= 1
    assert near.share == near.flagged / near.test_clips


def test_a_clip_that_was_encoded_anew_is_found():
    clips, subsets, features = many()
    copied = features.clips.index("2/20_1.avi")
    again = features.features[copied] * 1.02 + np.random.default_rng(1).normal(0, 0.02, (FRAMES, FEATURE_DIM))
    clips = [*clips, clip("3/zz.avi", label="3", group="g99")]
    subsets = {**subsets, "3/zz.avi": "test"}
    features = FeatureSet([*features.clips, "3/zz.avi"], np.concatenate([features.features, [again.astype(np.float16)]]), {})
    near = audit(clips, subsets, features).near
    first = near.top[0]
    assert (first.test, first.train, first.same_class, first.sibling) == ("3/zz.avi", "2/20_1.avi", False, False)
    assert first.similarity > 0.99
    assert near.flagged >= near.strangers >= 1


def test_siblings_that_no_name_tells_are_found_though_they_are_among_the_pairs_that_set_the_threshold():
    clips, subsets, features = many(named=False, spread=0.1, per_source=False)
    found = audit(clips, subsets, features)
    assert found.siblings == 0
    near = found.near
    assert near.share > 0.9
    assert near.strangers == near.flagged
    # One pair in 25 is of one source: a high percentile of the pairs would be among these, and flag few.
    assert near.threshold < 0.98
    assert all(pair.test.split("_")[0] == pair.train.split("_")[0] for pair in near.top)


def test_known_siblings_are_no_strangers():
    near = audit(*many(spread=0.1, per_source=False)).near
    assert near.share > 0.9
    assert near.strangers == 0
    assert all(pair.sibling and pair.same_class for pair in near.top)


def test_the_most_similar_pairs_come_first_and_only_so_many():
    near = audit(*many(), top=7).near
    similarities = [pair.similarity for pair in near.top]
    assert len(similarities) == 7
    assert similarities == sorted(similarities, reverse=True)


def test_similarity_is_the_cosine_of_centred_means():
    clips = [clip("t1"), clip("t2", group="g02"), clip("x", group="g03")]
    means = np.array([[1.0, 1.0], [-1.0, 3.0], [2.0, 3.0]])  # the training clips' mean: 0, 2
    frames = np.stack([means - 0.5, means + 0.5], axis=1).astype(np.float16)
    near = audit(clips, {"t1": "train", "t2": "train", "x": "test"}, FeatureSet(["t1", "t2", "x"], frames, {})).near
    # x: (2, 1); t1: (1, -1), t2: (-1, 1).
    assert (near.top[0].train, near.top[0].similarity) == ("t1", pytest.approx(1 / 10**0.5, abs=1e-5))
    assert (near.threshold, near.unrelated_pairs, near.flagged) == (DEFAULT_THRESHOLD, 0, 0)


def test_beyond_the_limit_of_pairs_an_index_finds_the_same_near_duplicates_and_its_recall_is_stated(monkeypatch):
    clips = many(spread=0.1, per_source=False)
    exact = audit(*clips).near
    monkeypatch.setattr(auditing, "EXACT_PAIRS", exact.test_clips * 300)  # there are 300 training clips
    assert audit(*clips).near == exact
    assert exact.recall is None
    monkeypatch.setattr(auditing, "EXACT_PAIRS", exact.test_clips * 300 - 1)
    found = audit(*clips).near
    assert [(pair.test, pair.train) for pair in found.top] == [(pair.test, pair.train) for pair in exact.top]
    assert found.flagged == exact.flagged
    assert 0.99 <= found.recall <= 1


def test_large_classes_are_sampled_for_the_threshold(monkeypatch):
    every = audit(*many()).near
    monkeypatch.setattr(auditing, "_PAIRS", 10)
    sampled = audit(*many()).near
    assert sampled.unrelated_pairs == 4 * 10 * 10
    assert sampled.threshold == pytest.approx(every.threshold, abs=0.04)
    monkeypatch.setattr(auditing, "_ALL_PAIRS", 4 * 5 * 5 + 1)
    assert audit(*many()).near.unrelated_pairs == 4 * 5 * 5


def test_the_threshold_of_normal_similarities(monkeypatch):
    """Of 2,000 training clips whose atanh similarity to the test clip is normal, 4 % are copies: they hardly matter."""
    monkeypatch.setattr(auditing, "_PAIRS", 2_000)
    rng = np.random.default_rng(0)
    similar = np.tanh(rng.normal(0.5, 0.5, 2_000))
    similar[rng.permutation(2_000)[:80]] = 0.9999
    known = np.stack([similar, np.sqrt(1 - similar**2)], axis=1).astype(np.float32)
    train = [clip(f"{number}", group=f"{number}") for number in range(2_000)]
    limit, pairs = auditing.threshold(train, [clip("test", group="test")], known, np.array([[1, 0]], dtype=np.float32))
    assert pairs == 2_000
    # In atanh, 4.42 deviations above the mean, which one in 200,000 exceeds: 2.71. The copies are at 4.95.
    assert np.arctanh(limit) == pytest.approx(0.5 + 4.42 * 0.5, abs=0.2)
    assert similar[similar > limit].size == 80


def test_clips_without_features_are_left_out():
    clips, subsets, features = many()
    kept = [place for place, name in enumerate(features.clips) if not name.startswith("0/")]
    near = audit(clips, subsets, FeatureSet([features.clips[place] for place in kept], features.features[kept], {})).near
    assert near.test_clips == 3 * 5 * 4


def test_features_that_are_all_the_same_resemble_nothing():
    clips, subsets, features = many(sources=6)
    near = audit(clips, subsets, FeatureSet(features.clips, np.ones_like(features.features), {})).near
    assert near.flagged == 0
    assert near.top[0].similarity == 0


def test_an_audit_needs_both_sides():
    with pytest.raises(ValueError, match="got 1 and 0"):
        audit([clip("a")], {"a": "train"})
    with pytest.raises(ValueError, match="1 training and 0 test clips have features"):
        audit(
            [clip("a"), clip("b")],
            {"a": "train", "b": "test"},
            FeatureSet(["a"], np.zeros((1, FRAMES, FEATURE_DIM), dtype=np.float16), {}),
        )
