"""Where settings come from, which counts more, and what is said about wrong ones."""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from openaq_pipeline import config
from openaq_pipeline.errors import ConfigError
from openaq_pipeline.section import Section
from openaq_pipeline.settings import FileSettings, Settings, secrets_of

ROOT = Path(__file__).resolve().parents[1]
FROM_THE_ENVIRONMENT = {".".join(key) for key in config.SECRETS} | {
    f"notifications.email.{name}" for name in ("host", "port", "username")
}
SECRET = "s3cr3t-canary"  # noqa: S105 - made up
URL = "https://{}.example/v3"


class Project:
    """A checkout of its own, and a current folder that is another one."""

    def __init__(self, root: Path, cwd: Path) -> None:
        self.root, self.cwd = root, cwd

    def write(self, text: str, name: str = "config.yaml") -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def load(self, text: str = "", env: dict[str, str] | None = None, **flags: Any) -> Settings:
        if text:
            self.write(text)
        return config.load(environ=env or {}, **flags)

    def refused(self, text: str = "", env: dict[str, str] | None = None, **flags: Any) -> ConfigError:
        with pytest.raises(ConfigError) as caught:
            self.load(text, env, **flags)
        return caught.value

    def problems(self, text: str, env: dict[str, str] | None = None, **flags: Any) -> tuple[str, ...]:
        problems = self.refused(text, env, **flags).problems
        assert problems
        return problems

    def problem(self, text: str, env: dict[str, str] | None = None, **flags: Any) -> str:
        (problem,) = self.problems(text, env, **flags)
        return problem


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    root, cwd = tmp_path / "project", tmp_path / "elsewhere"
    (root / "dataset" / "openaq_pipeline").mkdir(parents=True)
    cwd.mkdir()
    monkeypatch.setattr(config, "CHECKOUT", root)
    monkeypatch.chdir(cwd)
    return Project(root, cwd)


# --- which source counts more ---


def test_without_any_source_the_defaults_hold(project: Project) -> None:
    settings = project.load()
    assert settings.config_path is None
    assert settings.api.base_url == "https://api.openaq.org/v3"
    assert settings.data_dir == project.root / "data"
    assert all(at(settings, name) == at(FileSettings(), name) for name in leaves(FileSettings))


def test_flag_beats_environment_beats_dotenv_beats_file_beats_default(project: Project) -> None:
    def base_url(env: dict[str, str] | None = None, **flags: str) -> str:
        return project.load(env=env, **flags).api.base_url

    assert base_url() == "https://api.openaq.org/v3"
    project.write(f"api: {{base_url: '{URL.format('file')}'}}")
    assert base_url() == URL.format("file")
    project.write(f"OPENAQ_BASE_URL={URL.format('dotenv')}", ".env")
    assert base_url() == URL.format("dotenv")
    env = {"OPENAQ_BASE_URL": URL.format("environment")}
    assert base_url(env) == URL.format("environment")
    assert base_url(env, base_url=URL.format("flag")) == URL.format("flag")


def test_the_log_level_goes_the_same_way(project: Project) -> None:
    project.write("monitoring: {log_level: WARNING}")
    assert project.load().monitoring.log_level == "WARNING"
    assert project.load(env={"LOG_LEVEL": "error"}).monitoring.log_level == "ERROR"
    assert project.load(env={"LOG_LEVEL": "error"}, log_level="DEBUG").monitoring.log_level == "DEBUG"


def test_where_the_page_listens_goes_the_same_way(project: Project) -> None:
    assert project.load().web.host == "127.0.0.1"
    project.write("web: {host: 10.0.0.1}")
    assert project.load().web.host == "10.0.0.1"
    assert project.load(env={"WEB_HOST": "0.0.0.0"}).web.host == "0.0.0.0"  # noqa: S104 - nothing listens


def test_the_copy_in_postgresql_is_switched_on_and_off_by_the_environment_too(project: Project) -> None:
    project.write("storage: {postgres: {enabled: false}}")
    assert project.load(env={"POSTGRES_ENABLED": "true"}).storage.postgres.enabled
    project.write("storage: {postgres: {enabled: true}}")
    assert not project.load(env={"POSTGRES_ENABLED": "false"}).storage.postgres.enabled
    problem = project.problem("", {"POSTGRES_ENABLED": "perhaps"})
    assert problem.startswith("POSTGRES_ENABLED: `storage.postgres.enabled` is 'perhaps'")


def test_locations_of_the_command_line_take_the_place_of_the_files(project: Project) -> None:
    assert project.load("locations: [1, 2]").locations == [1, 2]
    assert project.load(locations=[3]).locations == [3]


def test_the_key_comes_from_the_environment_then_from_dotenv(project: Project) -> None:
    def key(env: dict[str, str] | None = None) -> str | None:
        found = project.load(env=env).api.api_key
        return found.get_secret_value() if found else None

    assert key() is None
    project.write("OPENAQ_API_KEY=of-the-file\n", ".env")
    assert key() == "of-the-file"
    assert key({"OPENAQ_API_KEY": "of-the-environment"}) == "of-the-environment"


@pytest.mark.parametrize("nothing", ["", "  ", "\n"])
def test_an_empty_variable_counts_as_not_given(project: Project, nothing: str) -> None:
    project.write("OPENAQ_API_KEY=of-the-file", ".env")
    key = project.load(env={"OPENAQ_API_KEY": nothing}).api.api_key
    assert key is not None
    assert key.get_secret_value() == "of-the-file"


def test_a_line_end_copied_with_a_key_is_no_part_of_it(project: Project) -> None:
    key = project.load(env={"OPENAQ_API_KEY": "abc\r\n"}).api.api_key
    assert key is not None
    assert key.get_secret_value() == "abc"


def test_the_current_folders_dotenv_beats_the_projects_key_by_key(project: Project) -> None:
    project.write("OPENAQ_API_KEY=project\nENVIRONMENT=project", ".env")
    (project.cwd / ".env").write_text("ENVIRONMENT=here")
    settings = project.load()
    assert settings.environment == "here"
    assert settings.api.api_key is not None, "another program's .env must not hide the project's"


def test_a_dotenv_that_is_no_text_is_a_sentence(project: Project) -> None:
    (project.root / ".env").write_bytes(b"OPENAQ_API_KEY=\xff\xfe")
    assert "not UTF-8" in str(project.refused())


# --- where the data are ---


def test_a_relative_data_directory_is_seen_from_the_file_that_names_it(project: Project, tmp_path: Path) -> None:
    other = tmp_path / "conf" / "mine.yaml"
    other.parent.mkdir()
    other.write_text("data: {directory: store}")
    assert project.load(config=other).data_dir == tmp_path / "conf" / "store"
    other.write_text("locations: [1]")
    assert project.load(config=other).data_dir == project.root / "data", "a default is seen from the project"


def test_a_relative_data_dir_of_the_environment_is_seen_from_the_current_folder(project: Project) -> None:
    assert project.load("data: {directory: x}", {"DATA_DIR": "store"}).data_dir == project.cwd / "store"


def test_a_relative_data_dir_of_dotenv_is_the_same_folder_from_wherever_one_starts(project: Project) -> None:
    project.write("DATA_DIR=store\nPIPELINE_CONFIG=conf/mine.yaml", ".env")
    project.write("locations: [5]", "conf/mine.yaml")
    settings = project.load()
    assert settings.data_dir == project.root / "store"
    assert settings.config_path == project.root / "conf" / "mine.yaml"


def test_the_data_dir_flag_beats_all_and_is_made_absolute(project: Project) -> None:
    settings = project.load("data: {directory: x}", {"DATA_DIR": "y"}, data_dir=Path("z"))
    assert settings.data_dir == project.cwd / "z"


def test_a_tilde_is_the_home_folder(project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert project.load("data: {directory: ~/air}").data_dir == tmp_path / "air"
    assert project.load(env={"DATA_DIR": "~/air"}).data_dir == tmp_path / "air"
    assert project.load("data: {directory: ~no-such-user/x}").data_dir == project.root / "~no-such-user" / "x"


# --- which file ---


def test_pipeline_config_names_the_file_and_the_flag_another(project: Project) -> None:
    project.write("locations: [1]")
    env = {"PIPELINE_CONFIG": str(project.write("locations: [2]", "two.yaml"))}
    assert project.load(env=env).locations == [2]
    assert project.load(env=env, config=project.write("locations: [3]", "three.yaml")).locations == [3]


@pytest.mark.parametrize("by_flag", [True, False])
def test_a_named_file_that_is_missing_is_an_error(project: Project, *, by_flag: bool) -> None:
    missing = project.root / "missing.yaml"
    flags: dict[str, Any] = {"config": missing} if by_flag else {"env": {"PIPELINE_CONFIG": str(missing)}}
    error = project.refused(**flags)
    assert f"{missing} can't be read: No such file" in str(error)
    assert "--config" in error.hint


def test_a_standard_file_that_is_a_broken_link_is_not_taken_for_none(project: Project) -> None:
    (project.root / "config.yaml").symlink_to("gone.yaml")
    assert "can't be read" in str(project.refused())


# --- what is not YAML, or no settings ---


def test_an_empty_file_means_the_defaults(project: Project) -> None:
    assert project.load("# nothing\n").locations == []


def test_a_yaml_mistake_is_told_with_its_line(project: Project) -> None:
    assert "not valid YAML at line 3" in str(project.refused("api:\n  timeout_seconds: 5\n max_workers: 2\n"))


@pytest.mark.parametrize("text", ["- 1\n- 2", "just words", "5"])
def test_a_file_without_sections_is_told_so(project: Project, text: str) -> None:
    assert "must hold sections" in str(project.refused(text))


def test_an_alias_is_refused_with_its_line(project: Project) -> None:
    assert "at line 2: aliases" in str(project.refused("locations: &a [1]\nweb: *a\n"))


def test_a_section_that_stands_twice_is_refused_instead_of_half_ignored(project: Project) -> None:
    error = project.refused("api: {max_workers: 2}\nlocations: [1]\napi: {timeout_seconds: 5}\n")
    assert "at line 3: `api` stands here a second time" in str(error)


@pytest.mark.parametrize(
    "text", ["a: 2025-13-45", "a: !!int x", "? [a]\n: 1", "[" * 20_000, "a: !!python/object:os.system x", "a: \x00"]
)
def test_what_yaml_itself_chokes_on_is_a_sentence(project: Project, text: str) -> None:
    assert str(project.root / "config.yaml") in str(project.refused(text))


def test_a_huge_or_binary_file_is_refused(project: Project) -> None:
    error = project.refused("# " + "µ" * 500_001)
    assert "larger than" in str(error), "counted in bytes: what is behind the limit must not be cut off in silence"
    (project.root / "config.yaml").write_bytes(b"\xff\xfea\x00")
    assert "not UTF-8" in str(project.refused())


# --- what is wrong in it ---


def test_all_problems_are_told_at_once_with_line_value_and_what_is_allowed(project: Project) -> None:
    problems = project.problems(
        "locations: [1]\n"
        "schedule:\n  mode: hourly\n  cron: '* * *'\n  timezone: Mars/Olympus\n"
        "api:\n  max_workers: 33\n  requests_per_hour: 0\n"
        "data:\n  initial_days: 1000000\n"
    )
    assert problems == (
        "line 3: `schedule.mode` is 'hourly': input should be 'interval', 'cron' or 'once'",
        "line 4: `schedule.cron` is '* * *': must have five fields: minute, hour, day of month, month, day of week",
        "line 5: `schedule.timezone` is 'Mars/Olympus': must be a time zone such as UTC or Asia/Kathmandu",
        "line 8: `api.requests_per_hour` is 0: input should be greater than 0",
        "line 7: `api.max_workers` is 33: input should be less than or equal to 32",
        "line 10: `data.initial_days` is 1000000: input should be less than or equal to 36525",
    )


def test_a_problem_from_the_environment_or_a_flag_names_that_and_not_a_line(project: Project) -> None:
    text = "api:\n  base_url: https://api.openaq.org/v3\n"
    assert project.problem(text, {"LOG_LEVEL": "loud"}).startswith("LOG_LEVEL: `monitoring.log_level` is 'LOUD'")
    assert project.problem(text, {"OPENAQ_BASE_URL": "x"}).startswith("OPENAQ_BASE_URL: `api.base_url` is 'x'")
    assert project.problem(text, {"OPENAQ_BASE_URL": "x"}, base_url="y").startswith("--base-url: `api.base_url` is 'y'")
    assert project.problem(text, locations=[0]).startswith("--locations: `locations` has 0")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("shedule: {}", "line 1: unknown key `shedule`; did you mean `schedule`?"),
        ("api:\n  timeout: 5", "line 2: unknown key `api.timeout`; did you mean `timeout_seconds`?"),
        ("web:\n  zzz: 5", "line 2: unknown key `web.zzz`; known here: enabled, host, port"),
        (
            "notifications:\n  email:\n    form: x",
            "line 3: unknown key `notifications.email.form`; did you mean `from`?",
        ),
        ("zzz:", "line 1: unknown key `zzz`; known here: schedule, api, data,"),
        (
            "monitoring:\n  alerts:\n    stale_hours: 1",
            "line 3: unknown key `monitoring.alerts.stale_hours`; did you mean",
        ),
    ],
)
def test_an_unknown_key_is_an_error_with_the_nearest_name(project: Project, text: str, said: str) -> None:
    assert project.problem(text).startswith(said)


def test_a_known_name_in_the_wrong_section_is_unknown_there(project: Project) -> None:
    assert "unknown key `timeout_seconds`" in project.problem("timeout_seconds: 5")


@pytest.mark.parametrize("text", ["schedule:", "monitoring: {alerts: }", "locations:", "api:\n  timeout_seconds:"])
def test_a_key_with_nothing_behind_it_means_its_default(project: Project, text: str) -> None:
    settings = project.load(text)
    assert settings.schedule == FileSettings().schedule
    assert settings.monitoring == FileSettings().monitoring
    assert settings.locations == []
    assert settings.api.timeout_seconds == 30


def test_an_environment_variable_reaches_a_section_that_is_empty(project: Project) -> None:
    settings = project.load("notifications:\n  slack:\n", {"SLACK_WEBHOOK_URL": "https://hooks.example/x"})
    assert settings.notifications.slack.webhook_url is not None


@pytest.mark.parametrize("section", [name for name in FileSettings.model_fields if name != "locations"])
@pytest.mark.parametrize("value", ["5", "[1]", "text", "true"])
def test_something_else_in_the_place_of_a_section_is_told(project: Project, section: str, value: str) -> None:
    env = {"OPENAQ_API_KEY": "k", "LOG_LEVEL": "INFO", "SLACK_WEBHOOK_URL": "https://x", "DATA_DIR": "d"}
    assert f"line 1: `{section}` must be a section with keys such as" in project.problem(f"{section}: {value}", env)


# --- locations ---


@pytest.mark.parametrize("bad", ["0", "-1", "true", '"3459"', str(2**31), "1.0", "1.5", "[1]", "null", "2025-01-01"])
def test_what_is_no_location_id_is_told(project: Project, bad: str) -> None:
    assert project.problem(f"locations:\n  - 1\n  - {bad}\n").startswith("line 3: `locations` has ")


def test_the_largest_id_is_allowed_and_an_id_twice_counts_once_in_its_first_place(project: Project) -> None:
    assert project.load(f"locations: [9, {2**31 - 1}, 9, 1]").locations == [9, 2**31 - 1, 1]


# --- the address ---


@pytest.mark.parametrize("url", ["https://a.example/v3", "http://127.0.0.1:8080/v3", "http://[::1]:80/x/v3"])
def test_a_base_url_may_end_in_a_slash(project: Project, url: str) -> None:
    assert project.load(base_url=f"{url}/").api.base_url == url
    assert project.load(base_url=url).api.base_url == url


@pytest.mark.parametrize(
    "url",
    [
        "https://a.example",
        "https://a.example/v2",
        "ftp://a.example/v3",
        "a.example/v3",
        "https:///v3",
        "https://a.example/v3?x=1",
        "https://a.example/?x=/v3",
        "https://a.example/v3#/v3",
        "https://a.example:99999/v3",
        "https://[/v3",
        f"https://user:{SECRET}@a.example/v3",
    ],
)
def test_any_other_base_url_is_refused(project: Project, url: str) -> None:
    problem = project.problem("", base_url=url)
    assert problem.startswith("--base-url: `api.base_url`")
    assert SECRET not in problem


# --- ranges and limits ---


def test_a_range_holds_for_any_unit_or_by_unit(project: Project) -> None:
    text = 'validation: {parameter_ranges: {pm25: [0, 1000], o3: {"µg/m³": [0, 500], ppm: [-0.1, 0.5]}}}'
    assert project.load(text).validation.parameter_ranges == {
        "pm25": {"any": (0, 1000)},
        "o3": {"µg/m³": (0, 500), "ppm": (-0.1, 0.5)},
    }


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("pm25: [5, 5]", "`validation.parameter_ranges.pm25` is [5, 5]: the first number must be below the second"),
        ("pm25: [9, 5]", "`validation.parameter_ranges.pm25` is [9, 5]: the first number must be below the second"),
        ("pm25: [1]", "`validation.parameter_ranges.pm25` is [1]: must be a list of two numbers"),
        ("pm25: [1, 2, 3]", "`validation.parameter_ranges.pm25` is [1, 2, 3]: must be a list of two numbers"),
        ("pm25: 0-500", "`validation.parameter_ranges.pm25` is '0-500': must be a list of two numbers"),
        ("pm25:", "`validation.parameter_ranges.pm25` is null: must be a list of two numbers"),
        ("pm25: [low, 5]", "`validation.parameter_ranges.pm25` has 'low': input should be a valid number"),
        ("pm25: [false, 5]", "`validation.parameter_ranges.pm25` has false: input should be a valid number"),
        ("pm25: [0, .inf]", "`validation.parameter_ranges.pm25` has Infinity: input should be a finite number"),
        ("o3: {ppm: [2, 1]}", "`validation.parameter_ranges.o3.ppm` is [2, 1]: the first"),
        ("o3: {any: [2, 1]}", "`validation.parameter_ranges.o3.any` is [2, 1]: the first"),
    ],
)
def test_a_range_that_is_none_is_told_in_the_files_own_words(project: Project, entry: str, said: str) -> None:
    text = f"validation:\n  parameter_ranges:\n    {entry}\n"
    assert project.problem(text).startswith(f"line 3: {said}")


@pytest.mark.parametrize("name", ["no", '"no"', "NO"])
def test_a_bare_no_is_the_parameter_and_not_false(project: Project, name: str) -> None:
    settings = project.load(f"validation: {{parameter_ranges: {{{name}: [0, 5]}}}}")
    assert list(settings.validation.parameter_ranges) == [name.strip('"')]


def test_no_as_a_value_is_false(project: Project) -> None:
    assert project.load("web: {enabled: NO}").web.enabled is False


def test_a_value_can_not_play_tricks_with_the_terminal_and_is_cut_short(project: Project) -> None:
    problem = project.problem('schedule: {mode: "\\e[2J\\u202e' + "x" * 200 + '"}')
    assert problem.isprintable()
    assert len(problem) < 200


def test_an_unknown_required_field_is_told(project: Project) -> None:
    problem = project.problem("validation:\n  required_fields: [parameter, values]")
    assert problem.startswith("line 2: `validation.required_fields` has 'values': input should be 'location_id',")


# --- secrets ---


def test_a_secret_in_the_file_is_used_with_a_warning(project: Project) -> None:
    settings = project.load(
        f"api: {{api_key: {SECRET}}}\nnotifications: {{slack: {{webhook_url: https://x/{SECRET}}}}}"
    )
    assert settings.api.api_key is not None
    assert settings.api.api_key.get_secret_value() == SECRET
    assert [warning.split()[0] for warning in settings.warnings] == ["api.api_key", "notifications.slack.webhook_url"]
    assert "OPENAQ_API_KEY" in settings.warnings[0]


def test_a_secret_of_the_environment_needs_no_warning(project: Project) -> None:
    assert project.load("locations: [1]", {"OPENAQ_API_KEY": SECRET}).warnings == ()


def test_a_secret_may_stand_in_a_file_of_its_own(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("from-a-file\n")
    settings = project.load(env={"OPENAQ_API_KEY_FILE": str(file)})
    assert settings.api.api_key is not None
    assert settings.api.api_key.get_secret_value() == "from-a-file"
    project.write("url", "secrets/url")
    project.write("WEBHOOK_URL_FILE=secrets/url", ".env")
    webhook = project.load().notifications.webhook
    assert webhook.url is not None
    assert webhook.url.get_secret_value() == "url", "a path in .env is seen from there"


def test_every_secret_may_stand_in_a_file(project: Project, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("canary")
    settings = project.load(env={f"{name}_FILE": str(tmp_path / "secret") for name in config.SECRET_VARIABLES})
    assert list(secrets_of(settings)) == ["canary"] * len(config.SECRETS)


def test_a_secret_given_twice_is_a_mistake(project: Project, tmp_path: Path) -> None:
    error = project.refused(env={"OPENAQ_API_KEY": "canary", "OPENAQ_API_KEY_FILE": str(tmp_path / "key")})
    assert str(error) == "OPENAQ_API_KEY and OPENAQ_API_KEY_FILE are both set"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda _: None, "can't be read: No such file or directory"),
        (lambda path: path.mkdir(), "can't be read: Is a directory"),
        (os.mkfifo, "can't be read: it is a pipe or a device, and no file"),
        (lambda path: path.write_bytes(b"canary \xff"), "holds no secret"),
        (lambda path: path.write_bytes(b"canary" * 10_000), "holds no secret"),
    ],
)
def test_a_file_that_holds_no_secret_is_told_and_not_shown(
    project: Project, tmp_path: Path, make: Callable[[Path], object], said: str
) -> None:
    make(tmp_path / "key")
    error = project.refused(env={"OPENAQ_API_KEY_FILE": str(tmp_path / "key")})
    assert said in str(error)
    assert "canary" not in str(error)


def test_a_dotenv_without_end_is_refused(project: Project) -> None:
    project.write("A=" + "x" * config.MAX_CONFIG_BYTES, ".env")
    assert "is larger than" in str(project.refused())


def test_a_secret_is_never_shown_by_the_settings(project: Project) -> None:
    text = f"api: {{api_key: {SECRET}}}\nnotifications: {{slack: {{webhook_url: https://x/{SECRET}}}}}"
    settings = project.load(text)
    assert SECRET not in repr(settings) + str(settings) + repr(settings.model_dump()) + settings.model_dump_json()
    assert SECRET not in repr(settings.warnings)


@pytest.mark.parametrize(
    "text",
    [
        f"api: {{api_key: [{SECRET}]}}",
        f"api: {{api_key: {{a: {SECRET}}}}}",
        f"api: {SECRET}",
        f"api: [api_key, {SECRET}]",
        f"api: {{key: {SECRET}}}",
        f"notifications: {SECRET}",
        f"notifications: {{slack: https://hooks.example/{SECRET}}}",
        f"storage: {{postgres: postgresql://u:{SECRET}@h/d}}",
        f"OPENAQ_API_KEY: {SECRET}",
        f"api:\n  api_key: {SECRET}\n timeout: 5",
        f'api: {{api_key: "{SECRET}}}',
        f"api: {{api_key: {SECRET}, api_key: {SECRET}}}",
        f"api: {{api_key: &{SECRET} x, base_url: *{SECRET}}}",
    ],
)
def test_a_secret_is_never_shown_by_an_error(project: Project, text: str) -> None:
    error = project.refused(text)
    said = "".join(traceback.format_exception(error))
    assert SECRET not in said + repr(error.problems) + error.hint


# --- the contract, and the file that ships ---

CONTRACT = """
locations: [3459]
schedule: {mode: cron, interval_hours: 1.5, cron: "0 */2 * * *", timezone: Asia/Kathmandu}
api: {base_url: "https://api.openaq.org/v3", timeout_seconds: 10, requests_per_minute: 61, requests_per_hour: 2001,
      max_workers: 2}
data: {directory: x, initial_days: 3, lookback_hours: 0, sweep_hours: 5.5, live_days: 7}
validation: {parameter_ranges: {pm25: [0, 1000], o3: {"µg/m³": [0, 500], ppm: [0, 0.5]}}, required_fields: [value],
             max_future_minutes: 0, series_tests: {neighbour_hours: 1, flat_line_hours: {pm25: 1}, spike: {pm25: 1},
             rate_of_change: {o3: {ppm: 1}}}}
monitoring: {log_level: DEBUG, log_file: x.log, textfile: x.prom,
             alerts: {max_consecutive_failures: 1, min_quality_score: 0, max_api_response_seconds: 1,
                      stale_after_hours: 1, cooldown_hours: 1}}
notifications: {enabled: true, timezone: Europe/Paris, group_hours: 0, escalate_after_hours: 24,
                quiet_hours: {from: 22:00, to: "07:00"}, digest: {enabled: false, weekday: friday, hour: 0},
                slack: {enabled: true, min_severity: error, webhook_url: "https://hooks.example/x"},
                email: {enabled: true, min_severity: warning, from: a@b.example, to: [c@d.example], security: ssl},
                webhook: {enabled: true, min_severity: critical, allow_private: true},
                apprise: {enabled: true, min_severity: warning}}
web: {enabled: false, host: 0.0.0.0, port: 1}
archive: {location: /mirror, region: eu-west-1, endpoint: "http://127.0.0.1:9000"}
storage: {postgres: {enabled: true}}
"""


def test_every_section_and_key_of_the_contract_is_accepted_and_reaches_the_settings(project: Project) -> None:
    settings = project.load(CONTRACT)
    unchanged = {
        name
        for name in leaves(FileSettings)
        if at(settings, name) == at(FileSettings(), name) and name not in {"api.base_url", "schedule.cron"}
    }
    assert unchanged == FROM_THE_ENVIRONMENT - {"notifications.slack.webhook_url"}, (
        "the test sets every other key to something that is not its default"
    )


def leaves(section: type[Section], prefix: str = "") -> Iterator[str]:
    for name, field in section.model_fields.items():
        here = f"{prefix}{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from leaves(field.annotation, f"{here}.")
        else:
            yield here


def at(settings: BaseModel, name: str) -> object:
    found: object = settings
    for part in name.split("."):
        found = getattr(found, part)
    return found


@pytest.fixture
def shipped() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "config.yaml").read_text())
    return found


def test_the_shipped_file_says_the_defaults_but_for_its_locations(project: Project) -> None:
    settings = project.load(config=ROOT / "config.yaml")
    assert len(settings.locations) == 10
    assert settings.warnings == ()
    for name in leaves(FileSettings):
        if name not in {"locations", *FROM_THE_ENVIRONMENT}:
            assert at(settings, name) == at(FileSettings(), name), name


def test_every_key_stands_in_the_shipped_file_except_the_secrets(shipped: dict[str, Any]) -> None:
    missing = []
    for name in leaves(FileSettings):
        found: Any = shipped
        for part in name.replace("sender", "from").replace("quiet_hours.start", "quiet_hours.from").split("."):
            found = found.get(part) if isinstance(found, dict) else None
        if found is None:
            missing.append(name)
    assert sorted(missing) == sorted(FROM_THE_ENVIRONMENT)


def test_every_variable_that_is_read_stands_in_the_shipped_dotenv() -> None:
    text = (ROOT / ".env.example").read_text()
    assert set(re.findall(r"^(?:# )?([A-Z_]+)=$", text, re.MULTILINE)) == {
        *config.ENVIRONMENT_KEYS,
        "PIPELINE_CONFIG",
        "ENVIRONMENT",
    }


def test_the_shipped_dotenv_copied_as_it_is_changes_nothing(project: Project) -> None:
    before = project.load()
    project.write((ROOT / ".env.example").read_text(), ".env")
    assert project.load() == before
