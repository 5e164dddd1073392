"""The generated tables of the reference: configuration, commands and targets, as Markdown that pages include."""

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from spotify_ml.cli.help import names_choice
from spotify_ml.cli.help import with_base as read_choice
from spotify_ml.config import commands
from spotify_ml.config.live import LiveConfig
from spotify_ml.config.run import RunConfig
from spotify_ml.utils.errors import ConfigError
from spotify_ml.utils.files import staged
from spotify_ml.utils.paths import CONF, PROJECT

SCHEMAS = {
    "train": RunConfig,
    "predict": commands.PredictConfig,
    "serve": commands.ServeConfig,
    "promote": commands.PromoteConfig,
    "live": LiveConfig,
    "compare": commands.CompareConfig,
    "profile": commands.ProfileConfig,
    "relocate": commands.RelocateConfig,
}
# The commands that groups belong to which are not of training.
_COMMAND_OF = {"gate": "promote", "traffic": "serve"}
# What these files set are keys of other groups, which have their comments there.
_OF_OTHERS = ("experiment", "tune/space")
_BOUNDS = {"minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}", "exclusiveMaximum": "< {}"}
_LENGTHS = {"minLength": "{} or more characters", "maxLength": "at most {} characters"}
_ITEMS = {"minItems": "{} or more", "maxItems": "at most {}", "minProperties": "{} or more"}
_TYPES = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "`true`, `false`",
    "null": "`null`",
}


# A key, its place in the schema, its default and its comment.
_Row = tuple[str, "_Schema | None", str, str]


def write_reference(folder: Path) -> None:
    """Write what the pages of the reference include.

    Parameters
    ----------
    folder : Path
        For the files; pages name them by ``--8<--``.

    Raises
    ------
    ConfigError
        If a key of ``conf/`` has no comment. Nothing is written then.
    """
    texts = {
        "configuration.md": "\n".join(configuration()),
        "commands.md": "\n".join(commands()),
        "targets.md": "\n".join(targets()),
    }
    for name, text in texts.items():
        with staged(folder / name) as file:
            file.write_text(text + "\n", encoding="utf-8")


def configuration() -> Iterator[str]:
    """Yield the lines of all keys: of each command, then of each group of choices."""
    lacking: list[str] = []
    lines = ["## Keys of each command", ""]
    for command in SCHEMAS:
        lines += _command_keys(command, lacking)
    lines += ["## Groups and their choices", ""]
    for group in sorted(path.relative_to(CONF).as_posix() for path in CONF.rglob("*") if path.is_dir()):
        lines += [f"### {group}", ""]
        for path in sorted((CONF / group).glob("*.yaml")):
            lines += _choice(group, path, lacking)
    if lacking:
        raise ConfigError(
            f"{len(lacking)} keys have no comment, from which --help and the reference are made; "
            f"write one behind each ('# …'): {'; '.join(lacking)}"
        )
    yield from lines


def _command_keys(command: str, lacking: list[str]) -> Iterator[str]:
    section, tree = read_choice(CONF / f"{command}.yaml"), _Schema(SCHEMAS[command].model_json_schema())
    comments = _comments_of_groups(section.groups)
    rows = [(key.key, tree.at(key.key), key.value, key.comment or comments.get(key.key, "")) for key in section.keys]
    lacking += [f"conf/{command}.yaml: {key}" for key, _, _, comment in rows if not comment]
    yield from (f"### {command}", "", section.purpose, "")
    if section.groups:
        yield from (f"Groups: {', '.join(f'[`{each.key}`](#{_slug(each.key)})' for each in section.groups)}.", "")
    yield from (*_table(rows), "")


def _choice(group: str, path: Path, lacking: list[str]) -> Iterator[str]:
    section = read_choice(path)
    yield from (f"#### {group}={path.stem}", "")
    if section.purpose:
        yield from (section.purpose, "")
    keys = [key for key in section.keys if not names_choice(key, path)]
    if group == "layout" and path.stem != "custom":
        # The columns of a format stand on the page of formats.
        keys = []
    if group in _OF_OTHERS:
        rows: list[_Row] = [(key.key, None, key.value, key.comment or "as in its own group") for key in keys]
    else:
        lacking += [f"conf/{group}/{path.name}: {key.key}" for key in keys if not key.comment]
        tree = _Schema(SCHEMAS[_COMMAND_OF.get(group, "train")].model_json_schema())
        place, package = tree.choice(group, path.stem), group.replace("/", ".")
        full = [f"{package}.{key.key}" for key in keys]
        rows = [(name, place.at(key.key, name), key.value, key.comment) for key, name in zip(keys, full, strict=True)]
    for base, _, member in (each.key.partition("@") for each in section.groups if "@" in each.key):
        link = f"[`{group}={base}`](#{_slug(f'{group}={base}')})"
        yield from (f"`{group}.{member}.…`: the keys of {link}.", "")
    if rows:
        yield from (*_table(rows), "")


def _comments_of_groups(groups: list[Any]) -> dict[str, str]:
    """Return the comments of the keys of the default choices: a command may set such a key itself."""
    found = {}
    for group in groups:
        path = CONF / group.key / f"{group.value}.yaml"
        for key in read_choice(path).keys if path.is_file() else []:
            found[f"{group.key}.{key.key}"] = key.comment
    return found


def _may_be(named: Mapping[str, Any], name: str) -> bool:
    """Return whether a field may have a value: one of its choices, or any text."""
    choices = [named[key] for key in ("const", "enum") if key in named]
    return not choices or name in (choices[0] if isinstance(choices[0], list) else choices)


class _Schema:
    """A place in a JSON schema."""

    def __init__(self, root: Mapping[str, Any], node: Mapping[str, Any] | None = None) -> None:
        self._root = root
        self._node = root if node is None else node

    def at(self, dotted: str, full: str = "") -> "_Schema":
        """Return the place of a key below this one; `full` is its name in errors."""
        place = self
        for key in dotted.split("."):
            below = [
                each._node["properties"] for each in place.alternatives() if key in each._node.get("properties", {})
            ]
            if not below:
                raise ConfigError(f"{full or dotted}: the schema knows no such key; remove it, or add it there")
            place = _Schema(self._root, below[0][key])
        return place

    def choice(self, group: str, name: str) -> "_Schema":
        """Return the alternative of a group that a choice has the name of."""
        for each in self.at(group.replace("/", ".")).alternatives():
            properties = each._node.get("properties", {})
            named = properties.get("mode", properties.get("name"))
            if "properties" in each._node and (named is None or _may_be(named, name)):
                return each
        raise ConfigError(f"{group}={name}: the schema knows no such choice; remove it, or add it there")

    def alternatives(self) -> Iterator["_Schema"]:
        """Yield what may stand here, with references followed."""
        node = self._node
        if "$ref" in node:
            name = node["$ref"].rpartition("/")[2]
            yield from _Schema(self._root, self._root["$defs"][name]).alternatives()
        elif below := node.get("oneOf", node.get("anyOf")):
            for each in below:
                yield from _Schema(self._root, each).alternatives()
        else:
            yield self

    def told(self) -> str:
        """Return type and range in words."""
        return "; or ".join(dict.fromkeys(each._told() for each in self.alternatives()))

    def _told(self) -> str:
        node = self._node
        if "const" in node or "enum" in node:
            return ", ".join(f"`{each}`" for each in node.get("enum", [node.get("const")]))
        if node.get("type") == "array":
            ranges = _ranges(node, _ITEMS)
            return f"list of: {_Schema(self._root, node['items']).told()}{f' ({ranges})' if ranges else ''}"
        if node.get("type") == "object":
            return "mapping"
        ranges = _ranges(node, {**_BOUNDS, **_LENGTHS})
        pattern = f"`{node['pattern']}`" if "pattern" in node else ""
        detail = ", ".join(filter(None, [ranges, pattern]))
        return _TYPES[node["type"]] + (f", {detail}" if detail else "")


def _ranges(node: Mapping[str, Any], words: Mapping[str, str]) -> str:
    # "1 or more characters" is what every text has that is required.
    return ", ".join(
        text.format(f"{node[key]:,}")
        for key, text in words.items()
        if key in node and (key, node[key]) != ("minLength", 1)
    )


def _table(rows: Sequence[_Row]) -> Iterator[str]:
    yield from ("| key | type and range | default | meaning |", "|---|---|---|---|")
    for key, place, default, comment in rows:
        kind = "" if place is None else place.told()
        cells = [f"`{key}`", kind, "required" if default == "???" else f"`{default}`", _text(comment)]
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _text(comment: str) -> str:
    """Return a comment as Markdown that shows it as it is."""
    return re.sub(r"([*_\[\]])", r"\\\1", html.escape(comment, quote=False))


def _slug(heading: str) -> str:
    return re.sub(r"[^\w-]", "", heading.lower())


def commands() -> Iterator[str]:
    """Yield the lines of all commands: what each does, how it is started, and examples of it."""
    for command in SCHEMAS:
        path = CONF / f"{command}.yaml"
        header = re.search(r"header: \|\n((?: +.*\n|\n)+?)(?=  \w|\Z)", path.read_text(encoding="utf-8"))
        if header is None:
            raise ConfigError(f"conf/{command}.yaml: hydra.help.header has no examples")
        examples = [line.strip() for line in header[1].splitlines() if line.strip().startswith("python")]
        yield from (f"### {command}", "", read_choice(path).purpose, "", "```console", *examples, "```", "")
        yield from (f"[Keys](configuration.md#{command})", "")


def targets() -> Iterator[str]:
    """Yield the table of the Makefile's targets."""
    yield from ("| target | what it does |", "|---|---|")
    for name, text in re.findall(r"^([a-z-]+):.*?## (.*)$", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.M):
        yield f"| `make {name}` | {text} |"
