"""`serve`: the web page, and the HTTP API that it uses."""

import argparse
from pathlib import Path

from actionrec.cli.terminal import Commands, add, check_model, positive


def register(commands: Commands) -> None:
    what = "serve a web page and an HTTP API that predict uploaded videos"
    command = add(commands, "serve", what, "Only this machine can reach it unless --host is set. There is no password.")
    command.add_argument(
        "--model", action="append", metavar="M", help="a name, or a bundle's folder; several may be given (default: all)"
    )
    command.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0: all networks (default: 127.0.0.1)")
    command.add_argument("--port", default="8501", help="port to listen on; 0: a free one (default: 8501)")
    command.add_argument("--max-mb", type=positive, default=200, metavar="N", help="maximum size of an upload (default: 200)")
    command.add_argument("--max-minutes", type=positive, default=10, metavar="N", help="maximum length of a video (default: 10)")
    command.add_argument(
        "--collect", type=Path, metavar="DIR", help="let visitors label their videos, and save those in DIR (default: off)"
    )
    command.add_argument("--open", action="store_true", help="open the page in a browser")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    for name in arguments.model or ():
        check_model(name)

    from actionrec.inference import predictor
    from actionrec.web import model_registry, samples, server
    from actionrec.web.predict_request import Limits

    port = server.port_of(arguments.port, "--port")
    folders: list[Path] = [predictor.find_bundle(name) for name in arguments.model] if arguments.model else model_registry.trained()
    limits = Limits(megabytes=arguments.max_mb, minutes=arguments.max_minutes)
    server.serve(
        folders, samples.of_project(), host=arguments.host, port=port, limits=limits, show=arguments.open, collect=arguments.collect
    )
