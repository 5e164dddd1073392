"""What ``--help`` prints: a command's purpose, examples, groups and keys, each with its comment in ``conf/``."""

import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from spotify_ml.utils.errors import ConfigError, did_you_mean
from spotify_ml.utils.paths import CONF

_ENTRY = re.compile(
    r"(?P<indent> *)(?:- )?(?:optional )?(?P<key>[\w/]+(?:@[\w.]+)?)"
    r"(?::(?: +(?P<value>.*?))?)?(?: +# +(?P<comment>.*))?"
)
_CONTINUED = re.compile(r" +# +(?P<comment>.*)")
_WIDTH, _LEFT = 110, 38
_FOOTER = """\
Any group or key is set as shown: GROUP=CHOICE, KEY=VALUE. With a choice, --help explains its keys: --help {hint}.
A value with blanks, commas, brackets or equals signs is quoted twice: '{key}="a (1).csv"'.

  --cfg job     print the composed configuration and stop
  --version     print the version and stop
  --hydra-help  further options, of Hydra: sweeps (-m), tab completion (-sc), launchers
"""


@dataclass
class Entry:
    """A line of a YAML file: a key, or a group of the defaults list; its value as it stands there, and its comment."""

    key: str
    value: str
    comment: str


@dataclass(frozen=True)
class Section:
    """A file of ``conf/``: what it is for, its groups and its keys."""

    purpose: str
    groups: list[Entry]
    keys: list[Entry]


def command_help(command: str, arguments: list[str]) -> str:
    """Return the help of a command; the choices of groups that were typed are explained instead of the defaults.

    Raises `ConfigError` if a group has no such choice.
    """
    path = CONF / f"{command}.yaml"
    section = _read(path)
    header = yaml.safe_load(path.read_text(encoding="utf-8"))["hydra"]["help"]["header"]
    choices = _Choices(dict(each.split("=", 1) for each in arguments if "=" in each), {key.key for key in section.keys})
    groups = list(section.groups)
    for group in section.groups:
        choice = choices.typed.get(group.key, group.value)
        if choice != "null":
            groups += choices.explain(CONF / group.key, group.key, choice)
    parts = [section.purpose, header.rstrip(), "Groups:", _table(groups), "Keys:", _table(section.keys), *choices.said]
    others = (
        f"{group.key}={path.stem}"
        for group in groups
        for path in sorted((CONF / group.key).glob("*.yaml"))
        if path.stem != group.value
    )
    example = next(key for key in ("name", "output", "tracking.uri") if key in {*choices.own, "tracking.uri"})
    return "\n\n".join([*parts, _FOOTER.format(hint=next(others, ""), key=example)])


@dataclass(frozen=True)
class _Choices:
    """The chosen files of the groups: what was typed, the keys of the command's own file, and what is said so far."""

    typed: Mapping[str, str]
    own: set[str]
    said: list[str] = field(default_factory=list)

    def explain(self, folder: Path, package: str, choice: str) -> Iterator[Entry]:
        """Say the keys of a choice, and yield the groups below it."""
        group = folder.relative_to(CONF).as_posix()
        path = folder / f"{choice}.yaml"
        if not path.is_file():
            choices = sorted(each.stem for each in folder.glob("*.yaml"))
            raise ConfigError(
                f"{group}={choice}: no such choice{did_you_mean(choice, choices)}; there are: {', '.join(choices)}"
            )
        section = with_base(path)
        prefix = package.replace("/", ".")
        told = [key for key in section.keys if not names_choice(key, path)]
        keys = [Entry(f"{prefix}.{key.key}", key.value, key.comment) for key in told]
        keys = [key for key in keys if key.key not in self.own]
        if keys:
            title = textwrap.fill(f"{group}={choice}: {section.purpose}", _WIDTH)
            self.said.append(f"{title}\n{_table(keys)}")
        for below in section.groups:
            base, _, place = below.key.partition("@")
            if place:
                yield from self.explain(folder, f"{package}.{place}", base)
            elif not below.value.startswith("$"):
                name = f"{group}/{base}"
                chosen = self.typed.get(name, below.value)
                yield Entry(name, chosen, below.comment)
                yield from self.explain(folder / base, name, chosen)


def names_choice(key: Entry, path: Path) -> bool:
    """Return whether a key of a choice is what tells it from the others of its group."""
    # The name of a choice of traffic is that of an experiment.
    return key.key == ("mode" if path.parent.name == "traffic" else "name")


def with_base(path: Path) -> Section:
    """Read a choice, and the one of the same group that it stands on, whose keys it has with values of its own."""
    section = _read(path)
    is_base = {entry.key: not entry.value and "@" not in entry.key for entry in section.groups}
    keys = {key.key: key for base in is_base if is_base[base] for key in with_base(path.with_stem(base)).keys}
    for key in section.keys:
        keys[key.key] = Entry(key.key, key.value, key.comment or (keys[key.key].comment if key.key in keys else ""))
    return Section(section.purpose, [entry for entry in section.groups if not is_base[entry.key]], [*keys.values()])


def _read(path: Path) -> Section:
    """Read the lines of a YAML file with their comments, which no YAML library keeps."""
    purpose: list[str] = []
    groups: list[Entry] = []
    keys: list[Entry] = []
    parents: list[tuple[int, str]] = []
    last: Entry | None = None
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            purpose += [line.removeprefix("#").strip()] if not (groups or keys) else []
            continue
        continued = _CONTINUED.fullmatch(line)
        if continued is not None and last is not None:
            last.comment += f" {continued['comment'].strip()}"
            continue
        found = _ENTRY.fullmatch(line)
        if line.startswith("hydra:"):
            break
        if found is None or found["key"] in ("_self_", "override"):
            continue
        indent = len(found["indent"])
        parents = [(depth, key) for depth, key in parents if depth < indent]
        in_defaults = bool(parents) and parents[0][1] == "defaults"
        key = found["key"] if in_defaults else ".".join([*(key for _, key in parents), found["key"]])
        value = (found["value"] or "").strip()
        last = Entry(key, value, (found["comment"] or "").strip())
        if in_defaults:
            groups.append(last)
        elif value:
            keys.append(last)
        else:
            parents.append((indent, found["key"]))
    return Section(" ".join(purpose), groups, keys)


def _table(entries: list[Entry]) -> str:
    lines = []
    for entry in entries:
        left, right = f"  {entry.key}={entry.value}", textwrap.wrap(entry.comment, _WIDTH - _LEFT)
        if right and len(left) < _LEFT:
            left = f"{left:<{_LEFT}}{right.pop(0)}"
        lines += [left, *(" " * _LEFT + line for line in right)]
    return "\n".join(lines)
