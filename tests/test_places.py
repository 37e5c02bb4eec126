"""What `locations:` may name: ids, selections, both, and what is told of a selection that can't be meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from openaq_pipeline import config
from openaq_pipeline.errors import ConfigError
from openaq_pipeline.settings import Settings


@pytest.fixture
def load(tmp_path: Path) -> Load:
    return Load(tmp_path / "config.yaml")


class Load:
    """Reads texts as a configuration file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, text: str, **flags: list[int]) -> Settings:
        self._path.write_text(text)
        return config.load(config=self._path, environ={}, **flags)  # type: ignore[arg-type]

    def problems(self, text: str) -> tuple[str, ...]:
        with pytest.raises(ConfigError) as caught:
            self(text)
        return caught.value.problems

    def problem(self, text: str) -> str:
        (problem,) = self.problems(text)
        return problem


def selections(settings: Settings) -> list[str]:
    return [str(selection) for selection in settings.selections]


def test_ids_and_selections_may_stand_in_one_list_and_each_counts_once(load: Load) -> None:
    settings = load(
        "locations:\n"
        "  - 3459\n"
        "  - country: np\n    parameter: pm25\n"
        "  - bbox: [85.2, 27.6, 85.5, 27.8]\n"
        "  - near: {lat: 27.7172, lon: 85, radius_m: 5000}\n    provider: AirNow\n"
        "  - planet\n"
        "  - {parameter: pm25, country: NP}\n"
        "  - 3459\n"
    )
    assert settings.locations == [3459]
    assert selections(settings) == [
        "country: NP, parameter: pm25",
        "bbox: [85.2, 27.6, 85.5, 27.8]",
        "near: {lat: 27.7172, lon: 85, radius_m: 5000}, provider: AirNow",
        "planet",
    ]


@pytest.mark.parametrize(
    ("text", "ids", "told"),
    [
        ("locations: {country: NP}", [], ["country: NP"]),
        ("locations: planet", [], ["planet"]),
        ("locations: 3459", [3459], []),
        ("locations:", [], []),
    ],
)
def test_one_item_may_stand_in_the_place_of_the_list(load: Load, text: str, ids: list[int], told: list[str]) -> None:
    settings = load(text)
    assert (settings.locations, selections(settings)) == (ids, told)


def test_ids_of_the_command_line_take_the_place_of_selections_too(load: Load) -> None:
    settings = load("locations: planet", locations=[7])
    assert (settings.locations, settings.selections) == ([7], ())


def test_what_a_selection_is_remembered_under_can_be_read_back_as_the_same(load: Load) -> None:
    text = "bbox: [-0.123456789, -90, 180, 1.0e-05], parameter: pm25"
    (told,) = selections(load(f"locations: {{{text}}}"))
    assert selections(load(f"locations: {{{told}}}")) == [told]


def test_all_problems_of_selections_are_told_at_once_with_their_lines(load: Load) -> None:
    assert load.problems(
        "locations:\n"
        "  - country: NO\n"
        "  - contry: NP\n"
        "    near: {lat: 91, lon: -181, radius_m: 25001}\n"
        "  - bbox: [86, 28, 85, 27]\n"
    ) == (
        'line 2: `locations.country` is false: must be in quotes, "NO" for Norway: YAML reads a bare NO as false',
        "line 4: `locations.near.lat` is 91: must be a latitude, a number from -90 to 90",
        "line 4: `locations.near.lon` is -181: must be a longitude, a number from -180 to 180",
        "line 4: `locations.near.radius_m` is 25001: must be a whole number of metres from 1 to 25000",
        "line 3: unknown key `locations.contry`; did you mean `country`?",
        (
            "line 5: `locations.bbox` is [86, 28, 85, 27]: must be [minLon, minLat, maxLon, maxLat], "
            "the south-west corner first; a box across the 180th meridian is two items"
        ),
    )


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("country: Nepal", "must be one code of two letters such as NP"),
        ("country: [NP, IN]", "each further country is an item too"),
        ("country: UK", "must be GB"),
        ("country:", "must be one code of two letters"),
        ("parameter: no", 'must be in quotes, "no" for nitric oxide'),
        ("parameter: 2", "must be one name such as pm25"),
        ("{country: NP, parameter: null}", "must be one name such as pm25"),
        ("provider: ''", "must be one name such as AirNow"),
        ("bbox: [85.2, 27.6, 85.5]", "must be [minLon, minLat, maxLon, maxLat], such as"),
        ("bbox: [27.6, 185.2, 28, 186]", "must be a latitude, a number from -90 to 90"),
        ("bbox: [85, 27, 85, 28]", "the south-west corner first"),
        ("bbox: [85.00001, 27, 85.00002, 28]", "OpenAQ looks at 4 decimals"),
        ("bbox: [85, 27, .nan, 28]", "must be a longitude"),
        ("bbox: ['85', 27, 86, 28]", "must be a longitude"),
        ("bbox:", "must have a value"),
        ("near: {lat: 27.7, lon: 85.3}", "`locations.near.radius_m` is missing"),
        ("near: {lat: 27.7, lon: 85.3, radius_m: 0}", "a whole number of metres from 1 to 25000"),
        ("near: {lat: 27.7, lon: 85.3, radius_m: true}", "a whole number of metres from 1 to 25000"),
        ("near: {lat: 27.7, lon: 85.3, radius: 5}", "did you mean `radius_m`?"),
        ("near: [27.7, 85.3, 5]", "must be a section with keys such as `lat:`"),
        ("near:", "must have a value"),
        ("{near: {lat: 1, lon: 2, radius_m: 3}, bbox: [1, 2, 3, 4]}", "must not have both bbox and near"),
        ("{}", "all of OpenAQ is `planet`"),
        ("{planet: true}", "unknown key `locations.planet`"),
        ("NP", "must be a location id such as 3459 (no quotes), a selection such as `country: NP`, or `planet`"),
    ],
)
def test_a_selection_that_cannot_be_meant_is_told(load: Load, item: str, said: str) -> None:
    problems = load.problems(f"locations:\n  - {item}\n")
    assert all(problem.startswith("line 2: ") for problem in problems)
    assert any(said in problem for problem in problems)


@pytest.mark.parametrize("code", ['"NO"', "no ", "-99", "'-99'"])
def test_a_country_is_its_code_in_capitals_or_the_one_of_no_country(load: Load, code: str) -> None:
    quoted = f"'{code}'" if code == "no " else code
    assert selections(load(f"locations: {{country: {quoted}}}"))[0] in {"country: NO", "country: -99"}
