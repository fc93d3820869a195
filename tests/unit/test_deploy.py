"""What can be known about the deploy files without a container engine."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from imece.events import SERVICES
from imece.runtime.settings import PodSettings, Settings
from services.review.settings import ReviewSettings

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text("utf-8")
K8S = ROOT / "deploy/k8s/base"
PODS = ROOT / "deploy/k8s/pods"
EXTRAS: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))[
    "project"
]["optional-dependencies"]
OURS = {name: service for name, service in COMPOSE["services"].items() if name in SERVICES}

_TEXTS = {"type": "array", "items": {"type": "string"}}
_NAMES = {"type": "object", "additionalProperties": {"type": ["string", "null"]}}
_SERVICE = {
    "type": "object",
    "additionalProperties": False,
    "anyOf": [{"required": ["image"]}, {"required": ["build"]}],
    "properties": {
        "image": {"type": "string", "pattern": r"^[a-z0-9./-]+:[\w.-]+$"},
        "build": {
            "type": "object",
            "required": ["context", "dockerfile"],
            "additionalProperties": False,
            "properties": {
                "context": {"type": "string"},
                "dockerfile": {"type": "string"},
                "args": _NAMES,
            },
        },
        "init": {"type": "boolean"},
        "restart": {"enum": ["no", "always", "on-failure", "unless-stopped"]},
        "user": {"type": "string"},
        "read_only": {"type": "boolean"},
        "cap_drop": _TEXTS,
        "security_opt": _TEXTS,
        "tmpfs": _TEXTS,
        "stop_grace_period": {"type": "string", "pattern": r"^\d+[ms]$"},
        "mem_limit": {"type": "string", "pattern": r"^\d+[kmg]$"},
        "pids_limit": {"type": "integer", "minimum": 1},
        "environment": _NAMES,
        "entrypoint": _TEXTS,
        "command": _TEXTS,
        "ports": _TEXTS,
        "volumes": _TEXTS,
        "configs": {"type": "array", "items": {"type": "object", "required": ["source", "target"]}},
        "healthcheck": {
            "type": "object",
            "required": ["test", "interval", "timeout", "retries"],
            "additionalProperties": False,
            "properties": {
                "test": {**_TEXTS, "minItems": 2},
                "interval": {"type": "string"},
                "timeout": {"type": "string"},
                "start_period": {"type": "string"},
                "retries": {"type": "integer", "minimum": 1},
            },
        },
        "depends_on": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["condition"],
                "additionalProperties": False,
                "properties": {
                    "condition": {"enum": ["service_healthy", "service_completed_successfully"]}
                },
            },
        },
    },
}
_COMPOSE_FILE = {
    "type": "object",
    "required": ["name", "services", "volumes"],
    "additionalProperties": False,
    "patternProperties": {"^x-": {}},
    "properties": {
        "name": {"type": "string"},
        "services": {"type": "object", "additionalProperties": _SERVICE},
        "volumes": {"type": "object"},
        "configs": {"type": "object"},
    },
}


def documents(name: str) -> dict[str, Any]:
    """Return the Kubernetes objects of one service by kind."""
    text = (K8S / f"{name}.yaml").read_text("utf-8")
    return {each["kind"]: each for each in yaml.safe_load_all(text)}


def installed(extra: str) -> set[str]:
    """Return the bare names of what `extra` installs, extras of our own followed."""
    names: set[str] = set()
    for requirement in EXTRAS[extra]:
        if own := re.fullmatch(r"imece\[(.+)\]", requirement):
            names.update(*(installed(each) for each in own[1].split(",")))
        else:
            names.add(re.split(r"[^\w-]", requirement, maxsplit=1)[0])
    return names


def test_the_compose_file_has_the_shape_of_one() -> None:
    jsonschema.validate(COMPOSE, _COMPOSE_FILE)


@pytest.mark.parametrize("wrong", [{"imagee": "a:1"}, {"mem_limit": "512 MB"}, {"ports": "80"}])
def test_the_shape_refuses_a_slip(wrong: dict[str, str]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"image": "a:1", **wrong}, _SERVICE)


def test_each_service_has_a_compose_entry_a_manifest_and_an_extra() -> None:
    assert set(OURS) == set(SERVICES)
    assert set(SERVICES) <= set(EXTRAS)
    assert {path.stem for path in K8S.glob("*.yaml")} - {"kustomization"} == set(SERVICES)
    listed = yaml.safe_load((K8S / "kustomization.yaml").read_text("utf-8"))["resources"]
    assert set(listed) == {f"{name}.yaml" for name in SERVICES}


def test_what_is_waited_for_exists_and_can_say_that_it_is_ready() -> None:
    for name, service in COMPOSE["services"].items():
        for other, wait in service.get("depends_on", {}).items():
            target = COMPOSE["services"].get(other)
            assert target is not None, f"{name} waits for {other}, which does not exist"
            if wait["condition"] == "service_healthy":
                assert "healthcheck" in target, f"{name} waits for {other}, which has no check"
            else:
                assert target["restart"] == "no", f"{other} never completes"


def test_images_are_pinned_to_a_version() -> None:
    images = [each["image"] for each in COMPOSE["services"].values()]
    images += re.findall(r"^FROM (\S+)", DOCKERFILE, re.M)
    assert [image for image in images if re.search(r":(latest|)$|^[^:]+$", image)] == []


@pytest.mark.parametrize("name", SERVICES)
def test_our_containers_have_no_rights(name: str) -> None:
    service = OURS[name]
    assert service["user"] == "10001:10001"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "mem_limit" in service
    assert any("/readyz" in word for word in service["healthcheck"]["test"])


@pytest.mark.parametrize("name", SERVICES)
def test_our_pods_have_no_rights_and_are_probed(name: str) -> None:
    kinds = documents(name)
    pod = kinds["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["image"] == OURS[name]["image"]
    assert "memory" in container["resources"]["limits"]
    secrets = [each["secretRef"] for each in container["envFrom"]]  # the later one wins
    own = {"name": f"imece-settings-{name}", "optional": True}
    assert secrets == [{"name": PodSettings().secret}, own]
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    mounts = {each["name"] for each in container["volumeMounts"]}
    assert mounts == {each["name"] for each in pod["volumes"]}


@pytest.mark.parametrize("name", SERVICES)
def test_the_selectors_of_a_manifest_find_its_pods(name: str) -> None:
    kinds = documents(name)
    spec = kinds["Deployment"]["spec"]
    labels = spec["template"]["metadata"]["labels"]
    for selector in (spec["selector"]["matchLabels"], kinds["Service"]["spec"]["selector"]):
        assert selector.items() <= labels.items()
    assert kinds["Deployment"]["metadata"]["name"] == kinds["Service"]["metadata"]["name"] == name


def test_runners_of_pods_may_do_what_kubectl_is_asked_for_and_no_more() -> None:
    found = {each["kind"]: each for each in yaml.safe_load_all((PODS / "rights.yaml").read_text())}
    rules = {r["resources"][0]: set(r["verbs"]) for r in found["Role"]["rules"]}
    made = {"create", "delete", "get", "list", "patch"}  # apply reads, creates or patches
    assert rules == {"jobs": made, "services": made, "pods": {"delete", "get", "list"}}
    account = found["ServiceAccount"]["metadata"]["name"]
    assert [each["name"] for each in found["RoleBinding"]["subjects"]] == [account]
    assert found["RoleBinding"]["roleRef"]["name"] == found["Role"]["metadata"]["name"]


@pytest.mark.parametrize("name", ["adapter", "trainer"])
def test_the_patch_of_a_runner_changes_what_it_says(name: str) -> None:
    pod = documents(name)["Deployment"]["spec"]["template"]["spec"]
    steps = {each["path"]: each for each in yaml.safe_load((PODS / "runner.yaml").read_text())}
    claims = yaml.safe_load_all((PODS / "volumes.yaml").read_text("utf-8"))
    known = {each["metadata"]["name"] for each in claims}
    assert known == {PodSettings().state_claim, PodSettings().cache_claim}
    for at in (1, 2):
        new = steps[f"/spec/template/spec/volumes/{at}"]["value"]
        assert new["name"] == pod["volumes"][at]["name"]
        assert new["persistentVolumeClaim"]["claimName"] in known
    assert pod["automountServiceAccountToken"] is False
    token = steps["/spec/template/spec/automountServiceAccountToken"]
    assert (token["op"], token["value"]) == ("replace", True)
    text = (PODS / "runner.yaml").read_text("utf-8")
    assert f"IMECE_{name.upper()}_LAUNCHER, value: kubernetes" in text


def test_each_setting_that_is_given_is_one_that_is_read() -> None:
    given = set(re.findall(r"\bIMECE_[A-Z_]+(?==)", DOCKERFILE))
    for name, service in OURS.items():
        given.update(key for key in service["environment"] if key.startswith("IMECE_"))
        (container,) = documents(name)["Deployment"]["spec"]["template"]["spec"]["containers"]
        given.update(each["name"] for each in container["env"])
    read = {f"IMECE_{field.upper()}" for field in Settings.model_fields}
    read |= {f"IMECE_REVIEW_{field.upper()}" for field in ReviewSettings.model_fields}
    assert "IMECE_KAFKA" in given
    assert given - read == set()


def test_the_settings_of_compose_lead_to_compose_services() -> None:
    environment = OURS["ingest"]["environment"]
    hosts = {
        environment["IMECE_KAFKA"].split(":")[0],
        environment["IMECE_DATABASE"].rpartition("@")[2].split(":")[0],
        environment["AWS_ENDPOINT"].removeprefix("http://").split(":")[0],
    }
    assert hosts == {"kafka", "postgres", "s3"}
    assert hosts <= set(COMPOSE["services"])


def test_secrets_come_from_outside() -> None:
    for service in COMPOSE["services"].values():
        for key, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|ACCESS_KEY|DATABASE", key):
                assert re.search(r"\$\{\w+:\?[^}]+\}", value), f"{key} has a value in the file"


def test_the_head_of_the_compose_file_names_what_env_has_to_hold() -> None:
    text = (ROOT / "docker-compose.yml").read_text("utf-8")
    head = text.partition("\nname:")[0]
    assert set(re.findall(r"\$\{(\w+)", text)) == set(re.findall(r"\b[A-Z0-9]+_[A-Z0-9_]+\b", head))


@pytest.mark.parametrize("name", SERVICES)
def test_what_an_image_is_built_from_exists(name: str) -> None:
    build = OURS[name]["build"]
    assert (ROOT / build["context"] / build["dockerfile"]).is_file()
    folder = build["args"]["SERVICE"]
    assert folder == name.replace("-", "_")
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.M):
        for source in line.replace("${SERVICE}", folder).split()[:-1]:
            assert (ROOT / build["context"] / source).exists(), f"COPY {source}"


def test_the_image_runs_one_service_as_nobody() -> None:
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    assert "USER 10001:10001" in last
    assert re.findall(r"^COPY services/\S+", last, re.M) == [
        "COPY services/__init__.py",
        "COPY services/${SERVICE}",
    ]
    assert re.search(r'^ENTRYPOINT \[".*exec python -m', last, re.M)


@pytest.mark.parametrize("name", ["ingest", "feedback-guard", "review"])
def test_light_services_install_no_torch(name: str) -> None:
    assert installed(name) & {"torch", "transformers", "peft"} == set()
    assert "torch" in installed("adapter")


def test_named_volumes_and_configs_are_declared_and_used() -> None:
    services = COMPOSE["services"].values()
    volumes = {each.split(":")[0] for service in services for each in service.get("volumes", [])}
    configs = {each["source"] for service in services for each in service.get("configs", [])}
    assert volumes == set(COMPOSE["volumes"])
    assert configs == set(COMPOSE["configs"])


def test_ports_are_open_on_this_machine_only_and_once() -> None:
    ports = [port for each in COMPOSE["services"].values() for port in each.get("ports", [])]
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []
    twice = [port for port, n in Counter(port.split(":")[1] for port in ports).items() if n > 1]
    assert twice == []
