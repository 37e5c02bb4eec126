"""deploy/azure/main.bicep: its grammar, its names, what it lets in, where the key goes; its types, if they are at hand.

No compiler of Bicep can be had from PyPI, npm or Debian. What its own would say beyond this shows at
`az deployment group validate`.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.deploy import bicep
from tests.deploy.azure_types import Published, problems
from tests.deploy.cloud_init import Told
from tests.documents import section

FOLDER = ROOT / "deploy/azure"
SOURCE = (FOLDER / "main.bicep").read_text()
FILE = bicep.parsed(SOURCE)
VARIABLES = {name: node.named_children[-1] for name, node in bicep.declared(FILE, "variable").items()}
PARAMETERS = bicep.declared(FILE, "parameter")
RESOURCES = list(bicep.resources(FILE))
TYPES = "BICEP_TYPES_AZ"


def resource(symbol: str) -> bicep.Resource:
    (found,) = [each for each in RESOURCES if each.symbol == symbol]
    return found


def as_text(symbol: str) -> str:
    return bicep.text(resource(symbol).body)


@pytest.mark.parametrize("broken", ["var a = [1\n", "param b string = 'c\n", "resource d = {}\n", "var e = f(g\n"])
def test_the_grammar_knows_a_mistake(broken: str) -> None:
    assert bicep.mistakes(bicep.parsed(broken))


def test_the_grammar_is_kept() -> None:
    assert bicep.mistakes(FILE) == []
    assert len(RESOURCES) > 12


def test_every_name_that_is_used_is_declared_and_the_other_way_round() -> None:
    symbols = {each.symbol for each in RESOURCES}
    assert bicep.used(FILE) <= symbols | set(VARIABLES) | set(PARAMETERS)
    assert set(VARIABLES) | set(PARAMETERS) <= bicep.used(FILE)


@pytest.mark.parametrize("kind", ["parameter", "output"])
def test_every_parameter_and_output_says_what_it_is(kind: str) -> None:
    lines = SOURCE.splitlines()
    for node in bicep.declared(FILE, kind).values():
        above = "\n".join(lines[max(0, node.start_point.row - 4) : node.start_point.row + 1])
        assert "@description('" in above


def test_the_key_is_a_secret_parameter_that_goes_into_the_vault_and_nowhere_else() -> None:
    above = SOURCE.split("param openaqApiKey string")[0].splitlines()[-3:]
    assert "@secure()" in above
    uses = [node for node in bicep.walk(FILE) if node.type == "identifier" and bicep.text(node) == "openaqApiKey"]
    declaration, use = uses
    assert declaration.parent == PARAMETERS["openaqApiKey"]
    assert bicep.text(use) in as_text("key")
    assert "value: openaqApiKey" in as_text("key")


def test_nothing_is_let_in_but_ssh_from_where_the_owner_says() -> None:
    assert "securityRules: empty(sshSource) ? [nothingElse] : [sshRule, nothingElse]" in as_text("securityGroup")
    ssh, rest = bicep.text(VARIABLES["sshRule"]), bicep.text(VARIABLES["nothingElse"])
    assert "destinationPortRange: '22'" in ssh
    assert "sourceAddressPrefix: sshSource" in ssh
    assert "access: 'Deny'" in rest
    assert rest.count("'*'") == 5


def test_vault_and_backups_are_reached_from_the_machines_network_alone() -> None:
    for symbol in ("vault", "storage"):
        assert "defaultAction: 'Deny'" in as_text(symbol)
        assert "id: network::subnet.id" in as_text(symbol)


def test_the_manuals_way_to_be_rid_of_the_vault_is_that_of_this_vault() -> None:
    """Protection from a purge could not be switched off again, and the same names could not be deployed for days."""
    chapter = " ".join(section("Azure").split())
    assert "enablePurgeProtection" not in as_text("vault")
    days = re.findall(r"softDeleteRetentionInDays: ([0-9]+)", as_text("vault"))
    assert re.findall(r"that Azure keeps for ([0-9]+) days", chapter) == days
    assert set(re.findall(r"properties\.outputs\.(\w+)", chapter)) == {"keyVault"}
    assert "keyVault" in bicep.declared(FILE, "output")


def test_the_data_disk_outlives_the_machine() -> None:
    assert "deleteOption: 'Detach'" in as_text("machine").split("dataDisks")[1].split("osProfile")[0]
    assert "createOption: 'Empty'" in as_text("dataDisk")


def test_the_roles_are_those_of_an_identity_that_outlives_the_machine() -> None:
    """Azure gives no role assignment to another principal: by the machine's own a new machine could not be deployed."""
    roles = [each for each in RESOURCES if each.type == "Microsoft.Authorization/roleAssignments"]
    assert len(roles) == 2
    for role in roles:
        said = bicep.text(role.body)
        assert "principalId: identity.properties.principalId" in said
        assert "identity.id" in bicep.text(bicep.properties(role.body)["name"])
        assert "machine" not in said
    assert "type: 'UserAssigned'" in as_text("machine")
    assert "'${identity.id}': {}" in as_text("machine")


def test_all_that_cloud_init_wants_to_be_told_is_put_in_and_no_more() -> None:
    template = (FOLDER / "cloud-init.yaml").read_text().split("package_update")[1]
    put_in = {word for word in SOURCE.split("'") if word.startswith("@") and word.endswith("@")}
    assert put_in == {f"@{name}@" for name in Told._fields}
    assert all(template.count(word) == 1 for word in put_in)
    assert "@" not in Told(*"abcde").cloud_init()


def test_what_cloud_init_is_given_is_yaml_and_has_the_settings() -> None:
    places = json.dumps([3459, {"country": "NO"}])  # as Bicep's string() writes an array
    told = Told(places, "https://a/b.tar.gz", "c" * 64, "https://v/secrets/k", "https://s/backups")
    tree = yaml.safe_load(told.cloud_init())
    files = {file["path"]: file["content"] for file in tree["write_files"]}
    assert yaml.safe_load(files["/etc/openaq-pipeline/config.yaml"])["locations"] == [3459, {"country": "NO"}]
    assert files["/etc/openaq-pipeline/azure.env"] == "KEY_URL=https://v/secrets/k\nBACKUP_URL=https://s/backups\n"
    assert len(told.cloud_init()) < 32_000, "Azure takes 64 KB in base64"


@pytest.fixture
def published() -> Published:
    folder = os.environ.get(TYPES)
    if not folder:
        pytest.skip(f"NOT tested: {TYPES} names no folder `generated` of github.com/Azure/bicep-types-az")
    return Published(Path(folder))


@pytest.mark.parametrize("each", [each for each in RESOURCES if not each.is_existing], ids=lambda each: each.symbol)
def test_a_resource_has_the_properties_that_its_version_knows(each: bicep.Resource, published: Published) -> None:
    assert list(problems(each, published, VARIABLES)) == []


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("uefiSettings", "uefi", "unknown"),
        ("lun: 0", "lun: '0'", "IntegerType"),
        ("deleteOption: 'Detach'", "deleteOption: 'Keep'", "allowed: ['Delete', 'Detach']"),
        ("    tenantId: subscription().tenantId\n", "", "tenantId is missing"),
        ("virtualMachines@2024-07-01", "virtualMachines@2024-07-31", "does not exist"),
        ("daysAfterCreationGreaterThan: backupDays } }\n", "days: backupDays } }\n", "unknown"),
    ],
)
def test_the_types_know_a_mistake(right: str, wrong: str, said: str, published: Published) -> None:
    assert right in SOURCE
    broken = bicep.parsed(SOURCE.replace(right, wrong))
    found = [word for each in bicep.resources(broken) if not each.is_existing for word in problems(each, published, {})]
    assert any(said in word for word in found), found
