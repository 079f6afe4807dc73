"""The commands that need no model: a question to a service, a look at a source, a check of a file."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import Namespace

    from stream.cli.console import Console


def ask(args: Namespace, console: Console) -> int:
    """`ask CAMERA QUESTION`."""
    from stream.cli.ask import ask

    asking = ask(
        console,
        args.server,
        args.camera,
        args.question,
        since_s=args.since,
        timeout_s=args.timeout,
        as_json=args.json,
    )
    return asyncio.run(asking)


def probe(args: Namespace, console: Console) -> int:
    """`probe URL`: one line per finding; 1 when something stands in the way."""
    from stream.cli.log import start_log
    from stream.probe import probe

    start_log("error")
    with console.working(f"Watching for {args.seconds:g} s"):
        findings = asyncio.run(probe(args.url, transport=args.transport, watch_s=args.seconds))
    for finding in findings:
        console.say(f"{'ok ' if finding.ok else 'NOT'}  {finding.text}", "" if finding.ok else "red")
    return 0 if all(finding.ok for finding in findings) else 1


def check_config(args: Namespace, console: Console) -> int:
    """`check-config FILE`: the errors come as an exception, all at once."""
    from stream.cli.console import Trouble
    from stream.clock import Clock
    from stream.config import load
    from stream.sources.opening import open_all

    config = load(args.file)
    try:
        open_all(config.cameras, Clock())  # says what can never be; whether it can be reached, `probe` says
    except ValueError as error:
        raise Trouble(f"{args.file} has cameras that can never be opened:\n{error}", 2) from error
    mqtt = "MQTT on" if config.mqtt else "MQTT off"
    console.say(f"{args.file} is good: cameras {', '.join(config.cameras)}; model {config.model.path_or_id}; {mqtt}.")
    return 0
