"""`train-all`: train the models side by side."""

import argparse

from actionrec.cli.terminal import Commands, add, positive, share


def register(commands: Commands) -> None:
    command = add(
        commands,
        "train-all",
        "train the models side by side, each as `dvc repro` would",
        "With ACTIONREC_ENGINE=ray they are trained on the machines of a Ray cluster. Ctrl-C stops them all.",
    )
    command.add_argument(
        "--jobs",
        type=positive,
        metavar="N",
        help="models at a time (default: one for each two cores; 2 on a GPU; all on a cluster)",
    )
    command.add_argument(
        "--gpus",
        type=gpu_share,
        default=1.0,
        metavar="SHARE",
        help="GPUs for a model on a Ray cluster that has any (default: 1; with 0.5, two models share a GPU)",
    )
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from actionrec.pipeline import train_all

    train_all.train_all(arguments.jobs or train_all.default_jobs(), arguments.gpus)


def gpu_share(text: str) -> float:
    """Argument type: a share of a GPU, above 0 and up to 1, since a training uses one GPU."""
    value = share(text)
    if not value:
        raise argparse.ArgumentTypeError("expected a share above 0; got 0")
    return value
