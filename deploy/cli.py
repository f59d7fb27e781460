"""The command `offshoot`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy import checks
from deploy.problems import Problem
from domain.errors import ConfigError, DomainError


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command. What a person can mend is one line on standard error and exit status 1."""
    given = _parser().parse_args(arguments)
    try:
        status = _run(given)
    except (Problem, ConfigError, DomainError) as problem:
        print(f"offshoot: {problem}", file=sys.stderr)
        status = 1
    sys.exit(status)


def _run(given: argparse.Namespace) -> int:
    checks.packages(worker=given.command == "run")  # before anything imports them
    if given.command == "run":
        from deploy import supervisor

        return supervisor.run()
    if given.command == "verify":
        from deploy import verify

        return verify.run(given.sample)
    if given.command in ("backup", "restore"):
        from deploy import backup

        return backup.backup(given.folder) if given.command == "backup" else backup.restore(given.folder, given.name)
    if given.command == "models" and given.action == "convert":
        return _convert(given.file, given.folder, given.config)
    if given.command == "models" and given.action == "fetch":
        return _fetch(given.source, given.folder, given.configuration)
    from deploy import commands

    if given.command == "admin":
        do = commands.grant_admin if given.action == "grant" else commands.revoke_admin
        return do(given.handle)
    if given.command == "migrate":
        return commands.migrate()
    if given.command == "examples":
        return commands.examples()
    if given.command == "index":
        return commands.index()
    if given.action == "add":
        from domain import means
        from domain.told import Said

        said = Said(given.license, given.trigger, given.defaults)
        return commands.add_model(given.name, given.path, said, means.parse(given.means))
    if given.action == "remove":
        return commands.remove_model(given.name)
    if given.action == "verify":
        return commands.verify_models(given.name)
    return commands.list_models()


def _convert(file: Path, folder: Path, config: Path | None) -> int:
    """`offshoot models convert FILE FOLDER`: needs no database."""
    checks.packages(worker=True)
    from tasks.converting import convert

    made = convert(file, folder, config)
    size = sum(each.stat().st_size for each in made.rglob("*") if each.is_file())
    print(f"{made} is a diffusers folder now, {size / 1e6:,.0f} MB. Register it: offshoot models add NAME {made}")
    return 0


def _fetch(source: str, folder: Path, configuration: bool) -> int:
    """`offshoot models fetch OWNER/NAME@COMMIT FOLDER`: needs no database."""
    checks.packages(worker=True)
    from tasks.fetching import fetch

    made = fetch(source, folder, configuration)
    size = sum(each.stat().st_size for each in made.rglob("*") if each.is_file())
    register = "" if configuration else f" Register it: offshoot models add NAME {made}"
    print(f"{made} has {source}, {size / 1e6:,.0f} MB.{register}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="offshoot", description="Share prompts that work, and how they were made.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="start everything on this machine and say where the site is")
    commands.add_parser("migrate", help="bring the database to the schema of this version")
    commands.add_parser("examples", help="fill an empty gallery by running the example pipelines")
    commands.add_parser("index", help="make what search reads anew; the site may run")
    verify = commands.add_parser("verify", help="read every stored file again and compare it with its SHA-256")
    verify.add_argument("--sample", type=_number, metavar="N", help="only N files, chosen by chance")
    backup = commands.add_parser("backup", help="copy the database and every file it refers to; the site may run")
    backup.add_argument("folder", type=Path, help="where all backups are kept")
    restore = commands.add_parser("restore", help="put a backup into an empty installation")
    restore.add_argument("folder", type=Path, help="where all backups are kept")
    restore.add_argument("name", nargs="?", default="", help="which one; the newest if not given")
    models = commands.add_parser("models", help="which models can be used").add_subparsers(dest="action", required=True)
    models.add_parser("list", help="show the registered models")
    check = models.add_parser("verify", help="hash the files of every model again and compare them with the registry")
    check.add_argument("name", nargs="?", default="", help="only this one")
    add = models.add_parser("add", help="register a diffusers folder or a single safetensors file")
    add.add_argument("name", help="how steps call it")
    add.add_argument("path", type=Path, help="the folder or file")
    add.add_argument("--license", default="", help="its SPDX identifier")
    add.add_argument("--trigger", default="", help="the words that call what it learned, with commas between them")
    add.add_argument("--defaults", default="", help="what steps begin with, such as steps=30,guidance=7.5,width=512")
    add.add_argument("--means", default="", help="how to run it, such as dtype=bf16,compile=1: see docs/models.md")
    convert = models.add_parser("convert", help="make a diffusers folder of a single safetensors checkpoint")
    convert.add_argument("file", type=Path, help="the checkpoint: Stable Diffusion 1, 2 or XL")
    convert.add_argument("folder", type=Path, help="the folder to make")
    convert.add_argument("--config", type=Path, help="a diffusers folder's configuration, if not that beside the file")
    fetch = models.add_parser("fetch", help="copy a model from the Hugging Face hub, as it was at one commit")
    fetch.add_argument("source", help="OWNER/NAME@COMMIT, with all 40 digits of the commit")
    fetch.add_argument("folder", type=Path, help="where to put it; one that was begun is gone on with")
    fetch.add_argument("--configuration", action="store_true", help="no weights, for a single file that lacks the rest")
    remove = models.add_parser("remove", help="offer a model no longer; what it made stays")
    remove.add_argument("name")
    admin = commands.add_parser("admin", help="who may look after the site").add_subparsers(
        dest="action", required=True
    )
    for action, words in (("grant", "make somebody an admin"), ("revoke", "make an admin a member again")):
        admin.add_parser(action, help=words).add_argument("handle", help="with or without the @")
    return parser


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"a whole number above 0 is needed, not {text!r}")
    return int(text)


if __name__ == "__main__":
    main()
