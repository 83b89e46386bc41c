from pathlib import Path

import pytest
from fabricate import BASELINES
from ruamel.yaml import YAML

from actionrec.core.errors import ParamsError
from actionrec.models import MODELS, create_model, parameter_count
from actionrec.training.loop import TrainSettings
from actionrec.training.recipes import read_recipe

ROOT = Path(__file__).parents[2]

TRAIN = {
    "epochs": 20,
    "batch_size": 16,
    "learning_rate": 0.001,
    "weight_decay": 0.00001,
    "step_size": 5,
    "gamma": 0.5,
    "warmup_epochs": 0,
    "standardise": True,
    "clip_norm": 0,
    "precision": "fp32",
    "class_weights": "none",
    "seeds": [0],
    "mixup": 0.0,
    "drop_frames": 0.0,
    "time_jitter": 0,
}


@pytest.fixture
def read(project):
    """Read a model's recipe from params.yaml with these sections instead of good ones; None takes a section out."""

    def read(model, /, **changes):
        document = {"seed": 7, "train": TRAIN, "model": {"hidden_dim": 32, "dropout": 0.3}, "models": {model: {}}, **changes}
        YAML().dump({key: value for key, value in document.items() if value is not None}, Path("params.yaml"))
        return read_recipe(model)

    return read


def problems(read, model, /, **changes):
    with pytest.raises(ParamsError) as caught:
        read(model, **changes)
    lines = str(caught.value).split("\n")
    assert all(line.startswith("params.yaml: ") for line in lines)
    return [line.removeprefix("params.yaml: ") for line in lines]


def test_the_shared_sections_make_a_recipe(read):
    recipe = read("gru")
    assert recipe.seed == 7
    assert recipe.train == TrainSettings(**{**TRAIN, "seeds": (0,)})
    assert recipe.arguments == {"hidden_dim": 32, "dropout": 0.3}


def test_a_models_own_keys_win_over_the_shared_ones(read):
    recipe = read("gru", models={"gru": {"learning_rate": 1e-5, "epochs": 3, "dropout": 0.1, "hidden_dim": 8}})
    assert recipe.train == TrainSettings(**{**TRAIN, "learning_rate": 1e-5, "epochs": 3, "seeds": (0,)})
    assert recipe.arguments == {"hidden_dim": 8, "dropout": 0.1}


def test_a_model_can_have_class_weights_of_its_own(read):
    assert read("gru", models={"gru": {"class_weights": "balanced"}}).train.class_weights == "balanced"
    assert read("gru").train.class_weights == "none"


def test_a_good_own_value_hides_a_bad_shared_one(read):
    assert read("gru", train={**TRAIN, "epochs": "many"}, models={"gru": {"epochs": 2}}).train.epochs == 2


@pytest.mark.parametrize("model", BASELINES)
def test_a_linear_probe_takes_no_settings_of_epochs(read, model):
    own = {"learning_rate": 0.01, "weight_decay": 0.1, "epochs": 5}
    assert problems(read, model, models={model: own}) == [
        f"models.{model}.learning_rate has no effect: {model} is solved exactly, not trained in epochs; remove it",
        f"models.{model}.epochs has no effect: {model} is solved exactly, not trained in epochs; remove it",
    ]
    recipe = read(model, models={model: {"weight_decay": 0.1}})
    assert (recipe.train.epochs, recipe.train.weight_decay, recipe.arguments) == (1, 0.1, {})


@pytest.mark.parametrize("model", BASELINES)
def test_a_linear_probe_refuses_augmentation_of_its_own_and_ignores_the_shared_one(read, model):
    augmented = {"mixup": 0.2, "drop_frames": 0.1, "time_jitter": 1}
    assert [line.split(" has no effect")[0] for line in problems(read, model, models={model: augmented})] == [
        f"models.{model}.{key}" for key in augmented
    ]
    read(model, train={**TRAIN, **augmented})


def test_a_model_can_have_augmentation_of_its_own(read):
    train = read("gru", models={"gru": {"mixup": 0.2, "drop_frames": 0.1, "time_jitter": 2}}).train
    assert (train.mixup, train.drop_frames, train.time_jitter) == (0.2, 0.1, 2)


def test_a_model_gets_only_the_shared_keys_that_it_has(read):
    assert "hidden_dim" not in read("transformer").arguments


def test_another_models_section_is_not_looked_into(read):
    assert read("gru", models={"gru": {}, "lstm": {"nonsense": True}, "transformer": None}).arguments["hidden_dim"] == 32


def test_lists_become_sequences_that_the_model_takes(read):
    recipe = read("swin_transformer", models={"swin_transformer": {"depths": [1, 1], "num_heads": [2, 2], "dim": 8, "window": 4}})
    assert recipe.arguments["depths"] == (1, 1)
    create_model("swin_transformer", recipe.arguments, feature_dim=4, class_count=2)


def test_an_unknown_model_is_refused(read):
    with pytest.raises(ParamsError) as caught:
        read("gruu")
    assert str(caught.value) == (
        "unknown model 'gruu'; expected one of bilstm, gru, gru_attention, lstm, mean_pool, mean_std, middle_frame, simple_rnn, "
        "stacked_lstm, swin_transformer, transformer"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": {"gru": {"hidden_dim": "wide"}}}, "models.gru.hidden_dim must be a whole number; got 'wide'"),
        ({"model": {"hidden_dim": 1.5, "dropout": 0}}, "model.hidden_dim must be a whole number; got 1.5"),
        ({"models": {"gru": {"dropout": True}}}, "models.gru.dropout must be a number; got True"),
        ({"models": {"gru": {"epochs": 2.5}}}, "models.gru.epochs must be a whole number; got 2.5"),
        ({"train": {**TRAIN, "gamma": None}}, "train.gamma must be a number; got None"),
        (
            {"train": {**TRAIN, "class_weights": "balance"}},
            "train.class_weights must be one of none, balanced; got 'balance'",
        ),
        ({"models": {"gru": {"class_weights": 1.5}}}, "models.gru.class_weights must be one of none, balanced; got 1.5"),
        ({"train": {**TRAIN, "lr": 0.1}}, "train.lr is unknown (known: " + ", ".join(TRAIN) + ")"),
        ({"models": {"gru": {"learning_rat": 0.1}}}, "models.gru.learning_rat is unknown (did you mean learning_rate?)"),
        ({"models": {"gru": {"hiden_dim": 8}}}, "models.gru.hiden_dim is unknown (did you mean hidden_dim?)"),
        ({"model": {"hidden_dim": 8, "dropuot": 0.1}}, "model.dropuot is unknown (did you mean dropout?)"),
        ({"models": {"gru": {"num_layers": 2}}}, None),
        ({"model": {"dropout": 0.1}}, "model.hidden_dim is missing"),
        ({"models": {"lstm": {}}}, "models.gru is missing"),
        ({"models": {"gru": None}}, "models.gru must hold keys and values; got None"),
        ({"seed": "x"}, "seed must be a whole number; got 'x'"),
        ({"seed": None}, "seed is missing"),
        ({"seed": -1}, "seed must be from 0 to 4294967295; got -1"),
        ({"modles": {}}, "modles is unknown (did you mean models?)"),
    ],
)
def test_a_wrong_key_or_value_is_named_where_it_stands(read, changes, message):
    told = problems(read, "gru", **changes)
    assert len(told) == 1
    assert told[0].startswith("models.gru.num_layers is unknown") if message is None else told == [message]


def test_all_problems_are_told_at_once(read):
    train = {key: value for key, value in TRAIN.items() if key != "gamma"} | {"epoch": 3}
    assert problems(
        read, "stacked_lstm", train=train, model={"hidden_dim": "a", "dropout": 0}, models={"stacked_lstm": {"num_layers": "two"}}
    ) == [
        "train.epoch is unknown (did you mean epochs?)",
        "train.gamma is missing",
        "model.hidden_dim must be a whole number; got 'a'",
        "models.stacked_lstm.num_layers must be a whole number; got 'two'",
    ]


@pytest.mark.parametrize("changes", [{"train": {**TRAIN, "epochs": 0}}, {"models": {"gru": {"epochs": 0}}}])
def test_a_value_out_of_range_is_refused(read, changes):
    assert problems(read, "gru", **changes) == ["train (or models.gru): epochs must be at least 1; got 0"]


@pytest.mark.parametrize("model", MODELS)
def test_the_projects_own_recipes_build_models_of_the_defaults_sizes(model):
    recipe = read_recipe(model, ROOT / "params.yaml")
    network = create_model(model, recipe.arguments, feature_dim=4, class_count=2)
    sizes = {"hidden_dim": 512} if "hidden_dim" in recipe.arguments else {}
    assert parameter_count(network) == parameter_count(create_model(model, sizes, feature_dim=4, class_count=2))


def test_the_studys_failing_transformer_is_reachable(read):
    own = {"norm_first": False, "learning_rate": 0.001, "warmup_epochs": 0, "clip_norm": 0}
    recipe = read("transformer", models={"transformer": own})
    assert (recipe.train.learning_rate, recipe.train.warmup_epochs, recipe.train.clip_norm) == (0.001, 0, 0)
    assert recipe.arguments == {"norm_first": False, "dropout": 0.3}
