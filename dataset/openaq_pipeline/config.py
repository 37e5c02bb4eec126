"""How settings are found and read: flags, environment, `.env`, `config.yaml`, defaults, in this order of weight."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from dotenv import dotenv_values
from pydantic import BaseModel, ValidationError

from openaq_pipeline.errors import ConfigError
from openaq_pipeline.settings import FileSettings, Settings

CHECKOUT = Path(__file__).resolve().parents[2]
MAX_CONFIG_BYTES = 1_000_000

ENVIRONMENT_KEYS: dict[str, tuple[str, ...]] = {
    "OPENAQ_API_KEY": ("api", "api_key"),
    "OPENAQ_BASE_URL": ("api", "base_url"),
    "DATA_DIR": ("data", "directory"),
    "LOG_LEVEL": ("monitoring", "log_level"),
    "SLACK_WEBHOOK_URL": ("notifications", "slack", "webhook_url"),
}
SECRETS = (("api", "api_key"), ("notifications", "slack", "webhook_url"))

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
    env = {**_dotenv(root), **{name: value for name, value in given.items() if value}}
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
    return Settings(
        **dict(checked),
        data_dir=folder.absolute(),
        config_path=path,
        environment=env.get("ENVIRONMENT", ""),
        warnings=warnings,
    )


def home() -> Path:
    """Return the folder of `config.yaml`, `.env` and `data/`: the checkout, or the current folder without one."""
    return CHECKOUT if (CHECKOUT / "dataset" / "openaq_pipeline").is_dir() else Path.cwd()


def find_config(config: Path | None, env: Mapping[str, str], root: Path) -> Path | None:
    """Return the configuration file to read; None: there is none and the defaults hold. A named one must exist."""
    named = config or (Path(env["PIPELINE_CONFIG"]) if env.get("PIPELINE_CONFIG") else None)
    if named is None:
        standard = root / "config.yaml"
        return standard if standard.exists() else None
    if not named.is_file():
        raise ConfigError(f"The configuration file {named} does not exist", hint="Check --config or PIPELINE_CONFIG.")
    return named.absolute()


def read_yaml(path: Path) -> tuple[dict[str, Any], dict[Path_, int]]:
    """Return the file as plain data, and the line (from 1) of each key and list item, by its path."""
    try:
        text = path.read_bytes()[: MAX_CONFIG_BYTES + 1].decode()
        if len(text) > MAX_CONFIG_BYTES:
            raise ConfigError(f"{path} is larger than {MAX_CONFIG_BYTES} bytes", hint="Is it really the configuration?")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.CSafeLoader)):
            # Aliases let a small file grow without end when read; no setting needs them.
            raise ConfigError(f"{path} uses YAML aliases (*name)", hint="Write the values out.")
        node = yaml.compose(text, Loader=yaml.CSafeLoader)
        data = yaml.load(text, Loader=yaml.CSafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} can't be read: {error}", hint="Check the file and its permissions.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "no reason given"
        raise ConfigError(f"{path} is not valid YAML{line}: {problem}", hint="Check the indentation.") from error
    if data is None:
        return {}, {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path} must hold sections such as `locations:` and `api:`", hint="See config.yaml.")
    # A section whose every key is commented out reads as null: the user means the defaults.
    kept = {key: value for key, value in data.items() if value is not None}
    return kept, dict(_lines(node, ()))


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
    """Return the `.env` of the current folder, else of the project; empty values count as not given."""
    for folder in (Path.cwd(), root):
        if (folder / ".env").is_file():
            return {name: value for name, value in dotenv_values(folder / ".env").items() if value}
    return {}


def _overlay(tree: dict[str, Any], env: Mapping[str, str]) -> dict[tuple[str, ...], str]:
    """Put the environment's values over the file's; return which name set which key, for error messages."""
    origins: dict[tuple[str, ...], str] = {}
    for name, key in ENVIRONMENT_KEYS.items():
        if name in env:
            _put(tree, key, env[name].upper() if name == "LOG_LEVEL" else env[name])
            origins[key] = name
    return origins


def _put(tree: dict[str, Any], key: tuple[str, ...], value: object) -> None:
    for name in key[:-1]:
        inner = tree.setdefault(name, {})
        if not isinstance(inner, dict):
            return  # the file has something else where a section belongs: the check says so
        tree = inner
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
    folder = Path(settings.data.directory).expanduser()
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
        problems = [_problem(detail, lines, origins) for detail in error.errors(include_url=False)]
        return sorted(set(problems), key=problems.index), FileSettings()


def _problem(detail: Any, lines: Mapping[Path_, int], origins: Mapping[tuple[str, ...], str]) -> str:
    """Return one line: where, what was found, what is allowed."""
    path: Path_ = tuple(detail["loc"])
    name = ".".join(str(part) for part in path)
    where = next((origin for key, origin in origins.items() if path[: len(key)] == key), None)
    if where is None:
        line = next((lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in lines), None)
        where = f"line {line}" if line else "settings"
    if detail["type"] == "extra_forbidden":
        return f"{where}: unknown key `{name}`{_nearest(path)}"
    message = str(detail["msg"]).removeprefix("Value error, ")
    secret = any(path[: len(key)] == key for key in SECRETS)
    found = "" if secret or detail["type"] == "missing" else f" is {detail['input']!r}"
    return f"{where}: `{name}`{found}: {message[:1].lower()}{message[1:]}"


def _nearest(path: Path_) -> str:
    """Return a question with the known name nearest to a misspelt one, or the list of the names there are."""
    known = known_keys(path[:-1])
    close = difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0.5)
    return f"; did you mean `{close[0]}`?" if close else f"; known here: {', '.join(known)}"


def known_keys(path: Path_) -> list[str]:
    """Return the names allowed in the section at `path`, as they are written in the file."""
    model: Any = FileSettings
    for part in path:
        annotation = model.model_fields[str(part)].annotation if str(part) in model.model_fields else None
        candidates = [annotation, *get_args(annotation)]
        model = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
        if model is None:
            return []
    return [field.alias or name for name, field in model.model_fields.items()]


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
