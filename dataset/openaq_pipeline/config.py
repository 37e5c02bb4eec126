"""How settings are found and read: flags, environment, `.env`, `config.yaml`, defaults, in this order of weight."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import msgspec
import yaml
from pydantic import ValidationError

from openaq_pipeline.bounded import whole
from openaq_pipeline.errors import ConfigError
from openaq_pipeline.places import KINDS, Selection
from openaq_pipeline.section import Section
from openaq_pipeline.settings import ANY_UNIT, FileSettings, Sections, Settings

CHECKOUT = Path(__file__).resolve().parents[2]
MAX_CONFIG_BYTES = 1_000_000
MAX_SECRET_BYTES = 16_000
SHOWN_CHARACTERS = 60

ENVIRONMENT_KEYS: dict[str, tuple[str, ...]] = {
    "OPENAQ_API_KEY": ("api", "api_key"),
    "OPENAQ_BASE_URL": ("api", "base_url"),
    "DATA_DIR": ("data", "directory"),
    "LOG_LEVEL": ("monitoring", "log_level"),
    "HEARTBEAT_URL": ("monitoring", "heartbeat_url"),
    "SLACK_WEBHOOK_URL": ("notifications", "slack", "webhook_url"),
    "SMTP_HOST": ("notifications", "email", "host"),
    "SMTP_PORT": ("notifications", "email", "port"),
    "SMTP_USERNAME": ("notifications", "email", "username"),
    "SMTP_PASSWORD": ("notifications", "email", "password"),
    "WEBHOOK_URL": ("notifications", "webhook", "url"),
    "WEBHOOK_SECRET": ("notifications", "webhook", "secret"),
    "APPRISE_URLS": ("notifications", "apprise", "urls"),
    "WEB_HOST": ("web", "host"),
    "DATABASE_URL": ("storage", "postgres", "dsn"),
    "POSTGRES_ENABLED": ("storage", "postgres", "enabled"),
}
SECRETS = (
    ("api", "api_key"),
    ("monitoring", "heartbeat_url"),
    ("notifications", "slack", "webhook_url"),
    ("notifications", "email", "password"),
    ("notifications", "webhook", "url"),
    ("notifications", "webhook", "secret"),
    ("notifications", "apprise", "urls"),
    ("storage", "postgres", "dsn"),
)

SECRET_VARIABLES = tuple(name for name, key in ENVIRONMENT_KEYS.items() if key in SECRETS)
FROM_FILE = "_FILE"
"""Behind the name of a secret's variable: its value is a file that holds the secret, as Docker and systemd have it."""

Path_ = tuple[str | int, ...]


def load(
    *,
    config: Path | None = None,
    data_dir: Path | None = None,
    base_url: str | None = None,
    locations: list[int] | None = None,
    log_level: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Return the settings of this start; the arguments are the command line's flags, None where not given.

    Raises `ConfigError` with every problem at once, each with its line, value and what is allowed.
    """
    given = os.environ if environ is None else environ
    root = home()
    env = _with_files({**_dotenv(root), **_given(given)})
    path = find_config(config, env, root)
    tree, lines = read_yaml(path) if path else ({}, {})
    warnings = tuple(_secrets_in_file(tree))
    origins = _overlay(tree, env)
    flags: list[tuple[str, tuple[str, ...], Any]] = [
        ("--base-url", ("api", "base_url"), base_url),
        ("--locations", ("locations",), locations),
        ("--debug", ("monitoring", "log_level"), log_level),
    ]
    for flag, key, value in flags:
        if value is not None:
            _put(tree, key, value)
            origins[key] = flag
    problems, checked = _check(tree, lines, origins)
    if problems:
        where = f" in {path}" if path else ""
        raise ConfigError(f"The settings{where} have {_plural(len(problems), 'problem')}", problems=tuple(problems))
    folder = data_dir or _data_folder(checked, path, origins, root)
    selections = dict.fromkeys(item for item in checked.locations if isinstance(item, Selection))
    return Settings.model_construct(  # all of it is checked
        **{name: getattr(checked, name) for name in Sections.model_fields},
        locations=[item for item in checked.locations if not isinstance(item, Selection)],
        selections=tuple(selections),
        data_dir=folder.absolute(),
        config_path=path,
        environment=env.get("ENVIRONMENT", ""),
        warnings=warnings,
    )


def home() -> Path:
    """Return the folder of `config.yaml`, `.env` and `data/`: the checkout, or the current folder without one."""
    return CHECKOUT if (CHECKOUT / "dataset" / "openaq_pipeline").is_dir() else Path.cwd()


def find_config(config: Path | None, env: Mapping[str, str], root: Path) -> Path | None:
    """Return the configuration file to read; None: none is named, there is no standard one, and the defaults hold."""
    named = config or (_path(env["PIPELINE_CONFIG"]) if "PIPELINE_CONFIG" in env else None)
    if named is not None:
        return named.absolute()
    standard = root / "config.yaml"
    return standard if os.path.lexists(standard) else None


def _path(text: str) -> Path:
    """Return a path with its `~` replaced; a user nobody knows is no user but a name."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def read_yaml(path: Path) -> tuple[dict[str, Any], dict[Path_, int]]:
    """Return the file as plain data, and the line (from 1) of each key and list item, by its path.

    Keys are the text that stands in the file. Raises `ConfigError` for what is not YAML or no mapping.
    """
    text = _read(path)
    try:
        node, data = _parse(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "no reason given"
        hint = "Check the spelling and the indentation there."
        raise ConfigError(f"{path} is not valid YAML{line}: {problem}", hint=hint) from error
    except (ValueError, OverflowError, RecursionError) as error:  # a date such as 2025-13-45
        raise ConfigError(f"{path} holds something that can't be read: {error}", hint="Put it in quotes.") from error
    if data is None:
        return {}, {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path} must hold sections such as `locations:` and `api:`", hint="See config.yaml.")
    return data, dict(_lines(node, ()))


def _read(path: Path) -> str:
    """Return a file's text; raises `ConfigError` for one that can't be read or is too large to be a configuration."""
    try:
        with path.open("rb") as file:
            body = file.read(MAX_CONFIG_BYTES + 1)
        if len(body) > MAX_CONFIG_BYTES:
            raise ConfigError(f"{path} is larger than {MAX_CONFIG_BYTES} bytes", hint="Is it really the configuration?")
        return body.decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        hint = "Check --config, PIPELINE_CONFIG and the file's permissions."
        raise ConfigError(f"The configuration file {path} can't be read: {reason}", hint=hint) from error


class _Loader(yaml.CSafeLoader):
    """Plain data, with keys as they are written: a bare `no:` is the parameter of that name and not false."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        """Return a mapping; raises `ConstructorError` for a key that is no name, or stands twice."""
        found: dict[Any, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a name", key.start_mark)
            if key.value in found:
                twice = f"`{key.value}` stands here a second time"
                raise yaml.constructor.ConstructorError(None, None, twice, key.start_mark)
            found[key.value] = self.construct_object(value, deep=deep)
        return found


def _parse(text: str) -> tuple[yaml.Node | None, Any]:
    """Return a YAML text as nodes, which know their lines, and as data."""
    events = yaml.parse(text, Loader=yaml.CSafeLoader)
    if alias := next((event for event in events if isinstance(event, yaml.AliasEvent)), None):
        # Aliases let a small file grow without end when read; no setting needs them.
        mark: Any = alias.start_mark
        raise yaml.composer.ComposerError(None, None, "aliases (*name) are not allowed; write the values out", mark)
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        return node, None if node is None else loader.construct_document(node)
    finally:
        loader.dispose()


def _lines(node: yaml.Node | None, path: Path_) -> Iterator[tuple[Path_, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*path, key.value)
            yield here, key.start_mark.line + 1
            yield from _lines(value, here)
    elif isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            yield (*path, position), item.start_mark.line + 1
            yield from _lines(item, (*path, position))


def _dotenv(root: Path) -> dict[str, str]:
    """Return the `.env` of the project, and over it that of the current folder."""
    return {**_dotenv_of(root), **_dotenv_of(Path.cwd())}


def _dotenv_of(folder: Path) -> dict[str, str]:
    """Return the values of a folder's `.env`; what names a path is seen from this folder."""
    file = folder / ".env"
    try:
        with file.open("rb") as opened:  # may be a pipe: some keepers of secrets hand them over so
            body = opened.read(MAX_CONFIG_BYTES + 1)
        text = body.decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{file} can't be read: {reason}", hint="Check the file and its permissions.") from error
    if len(body) > MAX_CONFIG_BYTES:
        raise ConfigError(
            f"{file} is larger than {MAX_CONFIG_BYTES} bytes", hint="It holds a few lines, see .env.example."
        )
    from dotenv import dotenv_values  # noqa: PLC0415 - where there is no such file there is no need of it

    values = _given(dotenv_values(stream=io.StringIO(text)))
    paths = {"DATA_DIR", "PIPELINE_CONFIG", *(name + FROM_FILE for name in SECRET_VARIABLES)}
    for name in paths & values.keys():
        values[name] = str(folder / _path(values[name]))
    return values


def _with_files(env: dict[str, str]) -> dict[str, str]:
    """Return the variables and, under the names without `_FILE`, the secrets that stand in files."""
    for name in SECRET_VARIABLES:
        if name + FROM_FILE not in env:
            continue
        if name in env:
            raise ConfigError(f"{name} and {name}{FROM_FILE} are both set", hint="Take one of them away.")
        env |= _given({name: _secret_in(_path(env[name + FROM_FILE]), name + FROM_FILE)})
    return env


def _secret_in(path: Path, variable: str) -> str:
    """Return what a file holds; raises `ConfigError`, which shows nothing of it."""
    hint = f"Check {variable} and the file's permissions."
    try:
        return whole(path, MAX_SECRET_BYTES).decode()
    except OSError as error:
        raise ConfigError(f"{path} ({variable}) can't be read: {error.strerror}", hint=hint) from error
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ConfigError(f"{path} ({variable}) holds no secret: it is too large, or no text", hint=hint) from None


def _given(values: Mapping[str, str | None]) -> dict[str, str]:
    """Return the variables that have a value, without the blanks and line ends that copying brings along."""
    return {name: value.strip() for name, value in values.items() if value and value.strip()}


def _overlay(tree: dict[str, Any], env: Mapping[str, str]) -> dict[tuple[str, ...], str]:
    """Put the environment's values over the file's; return which name set which key, for error messages."""
    origins: dict[tuple[str, ...], str] = {}
    for name, key in ENVIRONMENT_KEYS.items():
        if name in env:
            _put(tree, key, _typed(name, env[name]))
            origins[key] = name
    return origins


def _typed(name: str, text: str) -> object:
    """Return a variable's value as the file would have it; what is no number stays text, and the check says so."""
    if name == "LOG_LEVEL":
        return text.upper()
    return int(text) if name == "SMTP_PORT" and text.isascii() and text.isdigit() else text


def _put(tree: dict[str, Any], key: tuple[str, ...], value: object) -> None:
    for name in key[:-1]:
        if tree.get(name) is None:
            tree[name] = {}
        if not isinstance(tree[name], dict):
            return  # the file has something else where a section belongs: the check says so
        tree = tree[name]
    tree[key[-1]] = value


def _secrets_in_file(tree: dict[str, Any]) -> Iterator[str]:
    names = {key: name for name, key in ENVIRONMENT_KEYS.items()}
    for key in SECRETS:
        value: Any = tree
        for name in key:
            value = value.get(name) if isinstance(value, dict) else None
        if value:
            yield f"{'.'.join(key)} is a secret in config.yaml; move it to {names[key]} in the environment or .env"


def _data_folder(settings: FileSettings, path: Path | None, origins: Mapping[tuple[str, ...], str], root: Path) -> Path:
    """Return the data folder: a relative one is seen from where it was written down."""
    folder = _path(settings.data.directory)
    if ("data", "directory") in origins:
        return Path.cwd() / folder
    written = path is not None and "directory" in settings.data.model_fields_set
    return (path.parent if path and written else root) / folder


def _check(
    tree: dict[str, Any], lines: Mapping[Path_, int], origins: Mapping[tuple[str, ...], str]
) -> tuple[list[str], FileSettings]:
    try:
        return [], FileSettings.model_validate(tree)
    except ValidationError as error:
        problems = (_problem(detail, lines, origins) for detail in error.errors(include_url=False))
        return list(dict.fromkeys(problems)), FileSettings()


def _problem(detail: Any, lines: Mapping[Path_, int], origins: Mapping[tuple[str, ...], str]) -> str:
    """Return one line: where, what was found, what is allowed."""
    path: Path_ = tuple(part for part in detail["loc"] if part not in KINDS)
    name = _name(path, lines)
    where = next((origin for key, origin in origins.items() if path[: len(key)] == key), None)
    if where is None:
        line = next((lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in lines), None)
        where = f"line {line}" if line else "settings"
    if detail["type"] == "extra_forbidden":
        return f"{where}: unknown key `{name}`{_nearest(path)}"
    if detail["type"] == "missing":
        return f"{where}: `{name}` is missing"
    if detail["type"] == "model_type":  # its value may be a secret that stands a level too high
        return f"{where}: `{name}` must be a section with keys such as `{known_keys(path)[0]}:`"
    message = str(detail["msg"]).removeprefix("Value error, ")
    verb = "has" if isinstance(path[-1], int) else "is"
    found = "" if path in SECRETS else f" {verb} {_shown(detail['input'])}"
    return f"{where}: `{name}`{found}: {message[:1].lower()}{message[1:]}"


def _name(path: Path_, lines: Mapping[Path_, int]) -> str:
    """Return a setting's name as the file has it: list items have none, nor has the unit that stands for any."""
    parts = (
        part
        for end, part in enumerate(path, start=1)
        if isinstance(part, str) and (part != ANY_UNIT or path[:end] in lines)
    )
    return ".".join(parts)


def _shown(value: object) -> str:
    """Return a value as the file would have it, short, and without a password in an address."""
    plain = repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = re.sub(r"//[^/\s]*@", "//***@", plain)
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"


def _nearest(path: Path_) -> str:
    """Return a question with the known name nearest to a misspelt one, or the list of the names there are."""
    import difflib  # noqa: PLC0415 - only a mistake needs it

    known = known_keys(path[:-1])
    close = difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0.5)
    return f"; did you mean `{close[0]}`?" if close else f"; known here: {', '.join(known)}"


def known_keys(path: Path_) -> list[str]:
    """Return the names allowed in the section at `path`, as they are written in the file; none: not a section."""
    section: type[Section] | None = FileSettings
    for part in path:
        if section is None:
            return []
        if isinstance(part, str):  # the items of a list have no name
            field = section.model_fields.get(part)
            section = _section_in(field.annotation) if field else None
    return section.names() if section is not None else []


def _section_in(annotation: Any) -> type[Section] | None:
    """Return the section that a key may hold, alone or as an item of a list; None: it holds none."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next((found for part in get_args(annotation) if (found := _section_in(part)) is not None), None)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
