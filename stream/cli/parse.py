"""The command line's grammar. Nothing heavy is imported here: `--help` answers at once."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from stream.cli import spans


class Parser(argparse.ArgumentParser):
    """Errors are one sentence and where to find help, not the whole usage."""

    def error(self, message: str) -> NoReturn:
        """Exit with status 2."""
        self.exit(2, f"longwatch: {message}. See {self.prog} --help\n")


def parse(argv: Sequence[str] | None, version: str, benches: Sequence[str]) -> argparse.Namespace:
    """What was typed. Options of `bench` and `train` that only those know are in `rest`."""
    parser = make_parser(version, benches)
    args, rest = parser.parse_known_args(argv)
    if rest and args.command not in {"bench", "train"}:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    args.rest = rest
    return args


def make_parser(version: str, benches: Sequence[str]) -> Parser:
    """All commands of the contract."""
    parser = Parser(
        prog="longwatch",
        description="Watches live cameras without end and answers questions about what it sees and saw.",
    )
    parser.add_argument("--version", action="version", version=f"longwatch {version}")
    quiet = Parser(add_help=False)
    quiet.add_argument("--quiet", action="store_true", help="results only, plain lines")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)

    one = commands.add_parser("demo", parents=[quiet], help="a simulated camera, the bundled model, the page")
    one.add_argument("--once", action="store_true", help="end after the first answer")
    one.add_argument("--config", metavar="FILE", help="instead of configs/demo.yaml")
    one.add_argument("--scene", metavar="URL", help="what the simulated camera shows, for example sim://street?seed=3")

    one = commands.add_parser("serve", parents=[quiet], help="the service")
    one.add_argument("--config", metavar="FILE", required=True)

    one = commands.add_parser("ask", parents=[quiet], help="ask a running service")
    one.add_argument("camera", metavar="CAMERA")
    one.add_argument("question", metavar="QUESTION")
    one.add_argument("--since", type=_span, metavar="TIME", help="look only at the last 90s, 10m, 2h ...")
    one.add_argument("--timeout", type=_span, metavar="TIME", help="give up after; default: the service's own")
    one.add_argument("--json", action="store_true", help="one line of JSON instead of words")
    one.add_argument("--server", default="http://127.0.0.1:8080", metavar="URL")

    one = commands.add_parser("probe", parents=[quiet], help="can this source be read?")
    one.add_argument("url", metavar="URL", help="rtsp://, http(s)://, a file, webcam:0, sim://")
    one.add_argument("--transport", choices=("tcp", "udp"), default="tcp", help="of RTSP")
    one.add_argument("--seconds", type=_span, default=5.0, metavar="TIME", help="how long to watch; default 5s")

    one = commands.add_parser("check-config", parents=[quiet], help="all errors of a configuration, with lines")
    one.add_argument("file", metavar="FILE")

    one = commands.add_parser("bench", help=f"measure: {', '.join(benches)}", add_help=False)
    one.add_argument("name", metavar="NAME")
    commands.add_parser("train", help="the recipe of the bundled model; train --help lists its options", add_help=False)

    one = commands.add_parser("export", parents=[quiet], help="a vision tower for ONNX Runtime")
    one.add_argument("checkpoint", nargs="?", default="bundled", metavar="CHECKPOINT", help="folder, hub id or bundled")
    one.add_argument("--to", metavar="FOLDER", help="default: where the service looks for it")
    return parser


def _span(text: str) -> float:
    try:
        return spans.seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
