"""How the tests ask a simulator."""

from __future__ import annotations

from typing import Any

import requests

from openaq_pipeline.simulator.server import Running

KEY = {"X-API-Key": "any key"}


def get(simulator: Running, path: str, **query: Any) -> requests.Response:
    return requests.get(simulator.base_url + path, params=query, headers=KEY, timeout=10)


def rows(simulator: Running, sensors_id: int, **query: object) -> list[dict[str, Any]]:
    response = get(simulator, f"/sensors/{sensors_id}/measurements", **{"limit": 1000, **query})
    assert response.status_code == 200, response.text
    results: list[dict[str, Any]] = response.json()["results"]
    return results


def stamps(simulator: Running, sensors_id: int, **query: object) -> list[str]:
    return [row["period"]["datetimeTo"]["utc"] for row in rows(simulator, sensors_id, **query)]


def control(simulator: Running, method: str, name: str, **body: object) -> requests.Response:
    url = f"{simulator.root_url}/_simulator/{name}"
    return requests.request(method, url, json=body or None, timeout=10)
