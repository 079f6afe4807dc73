"""YAML text to plain data that remembers its lines. Nothing is executed, and a small file cannot become a large one."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

import yaml

MOST_NODES = 20_000  # values after aliases are followed; a bomb of anchors has billions
DEEPEST = 24
MOST_BRACKETS = 200  # far above DEEPEST: brackets in quotes and comments are counted as well
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(:[^}]*)?\}")
_BRACKET = re.compile(r"[\[\]{}]")
_ENCODED = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*")
_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float")}

Place = tuple[str | int, ...]  # way to a value: keys and list positions


@dataclass
class Document:
    """Plain data, the line (from 1) of every place, and what is wrong with it so far."""

    data: object = None
    lines: dict[Place, int] = field(default_factory=dict)
    problems: list[tuple[Place, str]] = field(default_factory=list)

    def line(self, place: Place) -> int:
        """The line of a place, or of the nearest one above it that has one."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)


def read_document(text: str, environment: Mapping[str, str] | None = None) -> Document:
    """Parse and substitute. Errors of form are in `problems`; then `data` may be None."""
    document = Document()
    if _deepest_bracket(text) > MOST_BRACKETS:
        document.problems.append(((), f"values are nested deeper than {DEEPEST} levels"))
        return document
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        document.lines[()] = mark.line + 1 if mark else 1
        document.problems.append(((), _yaml_sentence(error)))
        return document
    except yaml.YAMLError as error:
        document.problems.append(((), f"this is not YAML: {error}".splitlines()[0]))
        return document
    except RecursionError:
        document.problems.append(((), f"values are nested deeper than {DEEPEST} levels"))
        return document
    if node is None:
        document.problems.append(((), "the file is empty; at least `cameras:` is needed"))
        return document
    builder = _Builder(document, os.environ if environment is None else environment)
    try:
        document.data = builder.build(node, ())
    except _TooMuch as error:
        document.problems.append(((), str(error)))
        document.data = None
    return document


def _deepest_bracket(text: str) -> int:
    """Brackets that are open at once, whatever they mean: the parser's time grows with the square of it."""
    depth = deepest = 0
    for bracket in _BRACKET.finditer(text):
        depth = depth + 1 if bracket[0] in "[{" else max(0, depth - 1)
        deepest = max(deepest, depth)
    return deepest


def _yaml_sentence(error: yaml.MarkedYAMLError) -> str:
    if error.problem and "'\\t'" in error.problem:
        return "YAML is indented with spaces; there is a tab here"
    return f"this is not YAML: {error.problem or error.context}"


class _TooMuch(Exception):
    """The document would grow without bound."""


class _Builder:
    """Nodes to data, counting as it goes."""

    def __init__(self, document: Document, environment: Mapping[str, str]) -> None:
        self.document = document
        self.environment = environment
        self.nodes = 0
        self.scalars = yaml.SafeLoader("")

    def build(self, node: yaml.Node, place: Place) -> object:
        self.nodes += 1
        if self.nodes > MOST_NODES:
            raise _TooMuch(f"the file unfolds to more than {MOST_NODES} values; are there anchors inside anchors?")
        if len(place) > DEEPEST:
            raise _TooMuch(f"values are nested deeper than {DEEPEST} levels")
        self.document.lines.setdefault(place, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*place, position)) for position, item in enumerate(node.value)]
        return self._scalar(node, place)

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, object]:
        mapping: dict[str, object] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(place, line, "a key is a single word here")
                continue
            key = key_node.value  # as written: `on:` and `1:` are names of cameras, not a truth and a number
            inner = (*place, key)
            if key == "<<":
                self._problem(inner, line, "merge keys (<<) are not supported; write the keys out")
            elif key in mapping:
                first = self.document.line(inner)
                self.document.problems.append((inner, f"{key!r} stands twice, here and in line {first}; keep one"))
                self.document.lines[inner] = line
            else:
                self.document.lines[inner] = line
                mapping[key] = self.build(value_node, inner)
        return mapping

    def _problem(self, place: Place, line: int, sentence: str) -> None:
        self.document.lines[place] = line
        self.document.problems.append((place, sentence))

    def _scalar(self, node: yaml.Node, place: Place) -> object:
        if node.tag in _PLAIN_TAGS:
            try:
                return self.scalars.construct_object(node)
            except ValueError:  # `0b2` and friends look like numbers and are none
                return str(node.value)
        return self._substituted(str(node.value), place)

    def _substituted(self, text: str, place: Place) -> str:
        in_url = text.find("://")
        before_host = text.rfind("@")

        def value_of(match: re.Match[str]) -> str:
            name, default = match[1], match[2]
            value = self.environment.get(name)
            if value is None:
                if default is None:
                    hint = f"set it in the environment, or write ${{{name}:default}}"
                    self.document.problems.append((place, f"the variable {name} is not set; {hint}"))
                    return ""
                if place and "password" in str(place[-1]):
                    self.document.problems.append((place, f"a password has no default; set {name} in the environment"))
                value = default[1:]
            if 0 <= in_url < match.start() < before_host and not _ENCODED.fullmatch(value):
                return quote(value, safe="")  # user and password of a URL: a raw @ or / would end them early
            return value

        return _VARIABLE.sub(value_of, text)
