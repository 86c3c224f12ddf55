"""Where a setting comes from, and what of it is refused, by name, in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from vapi.config import SETTINGS, Address, Config, ConfigError, HostChoice, kubectl_command, load, parse_address
from vapi.config_values import WORKLOADS, Way

CLASSES = ("storage", "ingress", "runtime", "priority")
SENT = ("priority_classes", "ingresses", "network_policies", "pod_disruption_budgets", "persistent_volume_claims")


def loaded(file: Path | None = None, environment: dict[str, str] | None = None, **flags: str) -> Config:
    return load(flags, file, environment or {})


def yaml_file(directory: Path, text: str) -> Path:
    file = directory / "vapi.yaml"
    file.write_text(text)
    return file


def refusal(file: Path | None = None, environment: dict[str, str] | None = None, **flags: str) -> str:
    with pytest.raises(ConfigError) as raised:
        loaded(file, environment, **flags)
    message = str(raised.value)
    assert "\n" not in message
    return message


def test_without_any_setting_a_virtual_cluster_runs_on_this_machine() -> None:
    config = loaded()
    assert (config.name, config.store, config.host) == ("vapi", "sqlite", HostChoice("embedded"))
    assert (config.listen, config.advertise, config.host_rate) == (Address("127.0.0.1", 6443), None, 400.0)


def test_a_flag_goes_over_a_variable_over_the_file_over_the_default(tmp_path: Path) -> None:
    file = yaml_file(tmp_path, "name: of-file\nhostRate: 1\nstore: memory\n")
    environment = {"VAPI_NAME": "of-variable", "VAPI_HOST_RATE": "2"}
    config = loaded(file, environment, name="of-flag")
    assert (config.name, config.host_rate, config.store, config.log_level) == ("of-flag", 2.0, "memory", "INFO")


def test_the_file_can_be_named_by_a_variable(tmp_path: Path) -> None:
    file = yaml_file(tmp_path, "name: of-file")
    assert loaded(environment={"VAPI_CONFIG": str(file)}).name == "of-file"


@pytest.mark.parametrize("text", ["", "# nothing\n", "name:\nadvertise: null\n"], ids=["empty", "comment", "nulls"])
def test_what_the_file_leaves_empty_has_its_default(tmp_path: Path, text: str) -> None:
    assert loaded(yaml_file(tmp_path, text)) == loaded()


def test_a_service_named_vapi_in_our_namespace_sets_nothing() -> None:
    """Kubernetes gives the pod VAPI_PORT, VAPI_SERVICE_HOST and more for it: unknown variables are let be."""
    assert loaded(environment={"VAPI_PORT": "tcp://10.0.0.1:443", "VAPI_SERVICE_HOST": "10.0.0.1"}) == loaded()


def test_every_setting_can_be_given_as_flag_variable_and_key(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "config"
    kubeconfig.touch()
    values = {
        "name": "team-a",
        "data_dir": "/data",
        "store": "etcd=http://127.0.0.1:2379,http://127.0.0.1:2381",
        "host": f"kubeconfig={kubeconfig}",
        "host_namespace": "team-a",
        "host_rate": "0",
        "simulated_nodes": "50",
        "listen": "[::]:443",
        "advertise": "vapi.example.com:6443",
        "anonymous": "all",
        "dns": "embedded",
        "dns_image": "example.com:5000/coredns@sha256:00",
        "dns_listen": "0.0.0.0:5353",
        "dns_forward": "192.0.2.53, [2001:db8::53]:5353",
        "cluster_domain": "team-a.example",
        "log_level": "debug",
        "controllers_external": "true",
        **{f"workloads_{kind}": "virtual" for kind in set(WORKLOADS.values())},
        "workloads_daemonsets": "host",
        "sync_nodes_mode": "all",
        "sync_nodes_selector": "pool=a,zone=b",
        "sync_nodes_tolerations": "dedicated=team-a:NoSchedule",
        "sync_from_host_labels": "topology.*",
        "service_mapping_from_host": "host-ns/db=default/db",
        "service_mapping_to_host": "default/web=web",
        "sync_from_host_annotations": "example.com/*,example.org/*",
        **{f"sync_from_host_{kind}_classes_enabled": "false" for kind in CLASSES},
        **{f"sync_from_host_{kind}_classes_selector": "tenants=yes" for kind in CLASSES},
        **{f"sync_to_host_{kind}_enabled": "false" for kind in SENT},
        **{f"sync_to_host_ingresses_{kind}_annotations": f"example.com/{kind}" for kind in ("secret", "service")},
    }
    assert values.keys() == {setting.attribute for setting in SETTINGS}
    by_flags = load(values, None, {})
    by_variables = load({}, None, {setting.variable: values[setting.attribute] for setting in SETTINGS})
    lines = [f"{setting.key}: '{values[setting.attribute]}'" for setting in SETTINGS]
    by_file = load({}, yaml_file(tmp_path, "\n".join(lines)), {})
    assert by_flags == by_variables == by_file
    assert by_flags.host == HostChoice("kubeconfig", kubeconfig)
    assert (str(by_flags.listen), str(by_flags.advertise)) == ("[::]:443", "vapi.example.com:6443")


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("name", "A b", "RFC 1123 label"),
        ("name", "a" * 33, "no more than 32"),
        ("name", "a-x-b", "must not contain -x-"),
        ("name", "x-a", "must not contain -x-"),
        ("host_namespace", "No", "RFC 1123 label"),
        ("store", "postgres", "sqlite, memory or etcd=URL"),
        ("store", "sqlite=/x", "sqlite, memory or etcd=URL"),
        ("store", "etcd=", "sqlite, memory or etcd=URL"),
        ("store", "etcd=http://a b", "no etcd URL"),
        ("host", "cloud", "embedded, none, in-cluster or kubeconfig=PATH"),
        ("host", "kubeconfig=", "embedded, none, in-cluster or kubeconfig=PATH"),
        ("host", "kubeconfig=/does/not/exist", "is not a file"),
        ("simulated_nodes", "0", "a number from 1 to 250"),
        ("simulated_nodes", "251", "a number from 1 to 250"),
        ("simulated_nodes", "-3", "a number from 1 to 250"),
        ("host_rate", "fast", "number of requests a second"),
        ("host_rate", "-1", "0 (no limit) or more"),
        ("host_rate", "nan", "0 (no limit) or more"),
        ("host_rate", "inf", "0 (no limit) or more"),
        ("listen", "6443", "must be ADDR:PORT"),
        ("listen", "127.0.0.1:x", "must be ADDR:PORT"),
        ("listen", "127.0.0.1:65536", "must be ADDR:PORT"),
        ("listen", "under_score:1", "neither an IP address nor a host name"),
        ("advertise", "192.0.2.1", "must be ADDR:PORT"),
        ("anonymous", "yes", "health, all or off"),
        ("dns", "bind", "auto, coredns, embedded or none"),
        ("dns_image", "an image", "no image reference"),
        ("dns_listen", "1053", "must be ADDR:PORT"),
        ("dns_forward", "dns.example.com", "with IP addresses"),
        ("dns_forward", "192.0.2.53:0", "ports from 1 to 65535"),
        ("dns_forward", ",".join(["192.0.2.53"] * 16), "no more than 15"),
        ("cluster_domain", "no_domain", "RFC 1123 subdomain"),
        ("log_level", "loud", "debug, info, warning or error"),
        ("controllers_external", "yes", "true or false"),
        ("workloads_daemonsets", "real", "auto, host or virtual"),
        ("sync_nodes_mode", "some", "auto, used, all, invented or virtual"),
        ("sync_nodes_selector", "pool", "must be KEY=VALUE"),
        ("sync_nodes_selector", "no key=a", "name part"),
        ("sync_nodes_selector", '{"pool": 1}', "must be a text"),
        ("sync_nodes_tolerations", "a=b:Never", "NoSchedule, PreferNoSchedule, NoExecute"),
        ("sync_nodes_tolerations", '[{"operator": "Equal"}]', "must be Exists when key is empty"),
        ("sync_nodes_tolerations", '[{"keys": "a"}]', "a toleration has"),
        ("sync_from_host_labels", "[1]", "a list of texts"),
        ("service_mapping_from_host", "db=default/db", "must be NAMESPACE/NAME"),
        ("service_mapping_from_host", "a/b=c/d,e/f=c/d", "one Service only"),
        ("service_mapping_from_host", '[{"from": "a/b"}]', "must have from and to"),
        ("service_mapping_to_host", "default/web=other/web", "DNS-1035 label"),
    ],
)
def test_what_does_not_fit_is_refused_by_the_name_of_its_setting(
    name: str, value: str, reason: str, tmp_path: Path
) -> None:
    setting = next(each for each in SETTINGS if each.attribute == name)
    with pytest.raises(ConfigError, match=f"^{setting.flag}: "):
        load({name: value}, None, {})
    by_variable = refusal(environment={setting.variable: value})
    assert by_variable.startswith(f"{setting.variable}: ")
    by_file = refusal(yaml_file(tmp_path, f"{setting.key}: '{value}'"))
    assert by_file.startswith(f"{setting.key} in {tmp_path}")
    assert reason in by_variable and reason in by_file


def test_resolvers_have_their_ports() -> None:
    assert loaded().dns_forward == ("/etc/resolv.conf",)
    forward = loaded(dns_forward="192.0.2.53,2001:db8::53,[::1]:5353,127.0.0.1:99").dns_forward
    assert forward == ("192.0.2.53:53", "[2001:db8::53]:53", "[::1]:5353", "127.0.0.1:99")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nme: x\n", "unknown setting nme; known: advertise, anonymous, clusterDomain"),
        ("data-dir: x\n", "unknown setting data-dir"),
        ("- name\n", "must be a map"),
        ("{", "not YAML"),
        ("name: [a]\n", "name in"),
    ],
    ids=["unknown", "a flag's name", "a list", "no YAML", "a list as value"],
)
def test_a_file_that_is_no_configuration_is_refused_by_its_path(tmp_path: Path, text: str, reason: str) -> None:
    message = refusal(yaml_file(tmp_path, text))
    assert reason in message and str(tmp_path) in message


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.yaml").endswith("none.yaml: No such file or directory")


def test_kubectl_is_that_of_the_path_or_the_one_beside_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "elsewhere"))
    assert kubectl_command() == "kubectl"  # nowhere to be found: its usual name
    (tmp_path / "kubectl").touch(0o755)
    assert kubectl_command() == str(tmp_path / "kubectl")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert kubectl_command() == "kubectl"


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [(":6443", "0.0.0.0", 6443), ("[::1]:0", "::1", 0), ("localhost:65535", "localhost", 65535)],
)
def test_an_address_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    assert parse_address(text) == Address(host, port)


def test_the_file_has_groups_with_maps_and_lists(tmp_path: Path) -> None:
    text = """
sync:
  nodes:
    selector: {vcluster: vc-0001}
    tolerations:
    - {key: dedicated, value: vc-0001, effect: NoSchedule}
    - gpu:NoExecute
  fromHost:
    ingressClasses: {selector: {matchLabels: {value: one}}}
    labels: [topology.example.com/*]
serviceMapping:
  fromHost: [{from: data/db, to: default/db}]
  toHost: {default/web: web}
controllers: {external: true}
workloads: {DaemonSet: virtual, jobs: host}
host: in-cluster
"""
    config = loaded(yaml_file(tmp_path, text))
    assert config.sync_nodes_selector == {"vcluster": "vc-0001"}
    assert config.sync_nodes_tolerations == (
        {"key": "dedicated", "value": "vc-0001", "effect": "NoSchedule"},
        {"key": "gpu", "operator": "Exists", "effect": "NoExecute"},
    )
    assert config.sync_from_host_ingress_classes_selector == {"value": "one"}
    assert config.sync_from_host_labels == ("topology.example.com/*",)
    assert config.service_mapping_from_host == (("data/db", "default/db"),)
    assert config.service_mapping_to_host == (("default/web", "web"),)
    assert config.controllers_external
    assert (config.way("daemonsets"), config.way("jobs")) == (Way.VIRTUAL, Way.HOST)


def test_dns_may_be_one_word_or_a_group(tmp_path: Path) -> None:
    assert loaded(yaml_file(tmp_path, "dns: embedded")).dns == "embedded"
    grouped = loaded(yaml_file(tmp_path, "dns: {embedded: true, listen: '127.0.0.1:1053'}"))
    assert (grouped.dns, grouped.dns_listen) == ("embedded", Address("127.0.0.1", 1053))
    assert loaded(yaml_file(tmp_path, "dns: {embedded: false}")).dns == "auto"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("sync: {nodes: {selectors: {a: b}}}", "unknown setting sync.nodes.selectors"),
        ("workloads: {pods: host}", "unknown setting workloads.pods"),
        ("workloads: {jobs: host, Job: virtual}", "workloads.jobs is set twice"),
        ("dnsImage: a\ndns: {image: b}", "dnsImage is set twice"),
    ],
)
def test_a_key_that_is_unknown_or_comes_twice_is_refused_by_name(text: str, reason: str, tmp_path: Path) -> None:
    assert reason in refusal(yaml_file(tmp_path, text))


def test_priority_classes_go_one_way() -> None:
    with pytest.raises(ConfigError, match="only one of them"):
        load(
            {"sync_to_host_priority_classes_enabled": "true", "sync_from_host_priority_classes_enabled": "true"},
            None,
            {},
        )


def test_what_is_switched_off_is_not_sent() -> None:
    assert load({"sync_to_host_ingresses_enabled": "false"}, None, {}).not_sent == {"ingresses", "priorityclasses"}


def test_a_real_host_runs_daemon_sets_unless_their_pods_are_placed_or_made_elsewhere() -> None:
    assert loaded(host="in-cluster").host_workloads == ("daemonsets",)
    assert loaded(host="in-cluster", workloads_jobs="host").host_workloads == ("daemonsets", "jobs")
    assert loaded(host="in-cluster", workloads_daemonsets="virtual").host_workloads == ()
    assert loaded(host="in-cluster", sync_nodes_mode="virtual").host_workloads == ()
    assert loaded(host="in-cluster", controllers_external="true").host_workloads == ()
    assert loaded().host_workloads == ()


def test_workloads_of_a_host_that_cannot_run_them_are_refused_by_name() -> None:
    assert "workloads.jobs: host: needs a host with controllers" in refusal(workloads_jobs="host")
    found = refusal(host="in-cluster", workloads_jobs="host", sync_nodes_mode="virtual")
    assert "workloads.jobs: host: with sync.nodes.mode virtual every kind must be virtual" in found


@pytest.mark.parametrize(
    "flags",
    [
        {"service_mapping_from_host": "a/b=c/d"},
        {"service_mapping_to_host": "a/b=c"},
        {"sync_nodes_mode": "virtual"},
    ],
    ids=lambda flags: next(iter(flags)),
)
def test_what_would_do_nothing_without_a_host_is_refused(flags: dict[str, str]) -> None:
    assert load(flags, None, {}).host.kind == "embedded"
    with pytest.raises(ConfigError, match="needs a host"):
        load({**flags, "host": "none"}, None, {})
