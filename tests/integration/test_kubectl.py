"""What a person does with stock kubectl on a fresh `vapi serve`: each command says what it says of a real cluster.

One server for the module, on its embedded host; each test has a namespace of its own.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import pytest
import yaml

from tests.vapi_server import Kubectl, VapiServer, needs_kubectl, serving, wait_until

pytestmark = [pytest.mark.integration, needs_kubectl]

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, labels: {tier: front}}
spec:
  replicas: 2
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      containers:
      - name: c
        image: nginx
        env: [{name: A, value: "1"}, {name: B, value: "2"}]
"""
CHANGED = DEPLOYMENT.replace('{name: B, value: "2"}', '{name: C, value: "3"}').replace("tier: front", "stage: two")
CONFIG = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {a: "1", b: "2"}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VapiServer]:
    with serving(tmp_path_factory.mktemp("kubectl")) as running:
        yield running


@pytest.fixture
def kubectl(server: VapiServer) -> Kubectl:
    """In a namespace of its own."""
    plain = server.kubectl()
    name = f"t-{uuid.uuid4().hex[:8]}"
    plain("create", "namespace", name)
    return plain.within(name)


def deploy(kubectl: Kubectl, name: str = "web", replicas: int = 3) -> None:
    kubectl("create", "deployment", name, "--image=nginx", f"--replicas={replicas}")
    kubectl("rollout", "status", f"deployment/{name}", "--timeout=30s")


# --- pods and what runs them --------------------------------------------------------------------------


def test_a_watch_shows_a_pod_go_from_pending_to_running(kubectl: Kubectl) -> None:
    with kubectl.watching("get", "pods", "--watch-only") as watch:
        kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=30s")
        kubectl("run", "one", "--image=nginx", "--labels=a=b", "--port=80")
        kubectl("wait", "--for=condition=Ready", "pod/one", "--timeout=30s")
        kubectl("label", "pod", "one", "last=yes")
        assert watch.stdout is not None
        seen: list[str] = []
        for line in watch.stdout:
            if not line.startswith("NAME"):
                name, ready, status, *_ = line.split()
                seen.append(f"{name} {ready} {status}")
            if seen.count("one 1/1 Running") == 2:
                break
    assert seen[0] == "one 0/1 Pending"


def test_a_deployment_makes_its_pods_and_says_so(kubectl: Kubectl) -> None:
    created = kubectl("create", "deployment", "web", "--image=nginx", "--replicas=3")
    assert created.out == "deployment.apps/web created"
    assert "successfully rolled out" in kubectl("rollout", "status", "deployment/web", "--timeout=30s").out
    header, *pods = kubectl("get", "pods", "-o", "wide").lines
    assert header.split()[:7] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE"]
    assert [line.split()[1:3] for line in pods] == [["1/1", "Running"]] * 3
    assert kubectl("get", "deployment", "web").lines[1].split()[1:4] == ["3/3", "3", "3"]


def test_a_rollout_is_restarted_and_undone(kubectl: Kubectl) -> None:
    deploy(kubectl)
    for step in (
        ("set", "image", "deployment/web", "nginx=nginx:2"),
        ("rollout", "restart", "deployment/web"),
        ("rollout", "undo", "deployment/web", "--to-revision=1"),
    ):
        kubectl(*step)
        assert "successfully rolled out" in kubectl("rollout", "status", "deployment/web", "--timeout=30s").out
    history = kubectl("rollout", "history", "deployment/web").lines
    assert [line.split()[0] for line in history[2:]] == ["2", "3", "4"]
    assert kubectl.value("deployment", "web", ".spec.template.spec.containers[0].image") == "nginx"
    assert "nginx:2" in kubectl("rollout", "history", "deployment/web", "--revision=2").out
    assert "unable to find specified revision" in kubectl.refused(
        "rollout", "undo", "deployment/web", "--to-revision=9"
    )


def test_a_paused_rollout_waits_until_it_is_resumed(kubectl: Kubectl) -> None:
    deploy(kubectl, replicas=1)
    kubectl("rollout", "pause", "deployment/web")
    kubectl("set", "image", "deployment/web", "nginx=nginx:2")
    kubectl("wait", "--for=jsonpath={.status.observedGeneration}=3", "deployment/web", "--timeout=30s")
    assert len(kubectl("get", "replicasets", "-o", "name").lines) == 1
    kubectl("rollout", "resume", "deployment/web")
    kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    assert len(kubectl("get", "replicasets", "-o", "name").lines) == 2


def test_a_deployment_is_scaled_and_autoscaled(kubectl: Kubectl) -> None:
    deploy(kubectl, replicas=1)
    scaled = kubectl("scale", "deployment/web", "--replicas=4", "--current-replicas=1")
    assert (scaled.out, scaled.err) == ("deployment.apps/web scaled", "")
    kubectl("wait", "--for=jsonpath={.status.readyReplicas}=4", "deployment/web", "--timeout=30s")
    assert "Expected replicas to be 9" in kubectl.refused(
        "scale", "deployment/web", "--replicas=1", "--current-replicas=9"
    )
    assert kubectl("get", "deployment", "web", "--subresource=scale").lines[1].split()[1:3] == ["4", "4"]
    kubectl("autoscale", "deployment", "web", "--min=1", "--max=3", "--cpu=50%")
    assert "cpu: <unknown>/50%" in kubectl("get", "hpa").out


def test_a_service_finds_the_pods_it_exposes(kubectl: Kubectl) -> None:
    deploy(kubectl, replicas=2)
    kubectl("expose", "deployment", "web", "--port=80", "--target-port=8080")
    addresses = kubectl("get", "pods", "-o", "jsonpath={.items[*].status.podIP}").out.split()
    path = "jsonpath={.items[*].endpoints[*].addresses[*]}"
    wait_until(
        lambda: sorted(kubectl("get", "endpointslices", "-o", path).out.split()) == sorted(addresses),
        "the slice holds the addresses of both pods",
    )
    described = kubectl("describe", "service", "web").out
    assert all(f"{address}:8080" in described for address in addresses)


def test_describe_shows_the_events(kubectl: Kubectl) -> None:
    deploy(kubectl, replicas=1)
    pod = kubectl("get", "pods", "-o", "jsonpath={.items[0].metadata.name}").out
    wait_until(lambda: "Started" in kubectl("describe", "pod", pod).out, "the events of the pod came from the host")
    described = kubectl("describe", "pod", pod).out
    assert f"Successfully assigned {kubectl.namespace}/{pod} to node-" in described
    assert "Scaled up replica set web-" in kubectl("describe", "deployment", "web").out
    assert f"Created pod: {pod}" in kubectl("events", "--for", f"replicaset/{pod.rpartition('-')[0]}").out
    assert "ScalingReplicaSet" in kubectl("get", "events", "--sort-by=.lastTimestamp").out


@pytest.mark.parametrize("kind", ["namespace", "node", "service", "serviceaccount", "configmap", "clusterrole"])
def test_describe_works_for_every_object_there_is_at_the_start(server: VapiServer, kind: str) -> None:
    assert "Name:" in server.kubectl()("describe", kind).out


def test_ephemeral_containers_are_added_to_a_pod(kubectl: Kubectl) -> None:
    kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=30s")
    kubectl("run", "one", "--image=nginx")
    kubectl("wait", "--for=condition=Ready", "pod/one", "--timeout=30s")
    kubectl("debug", "one", "--image=busybox", "--container=debugger")
    assert kubectl.value("pod", "one", ".spec.ephemeralContainers[0].name") == "debugger"


@pytest.mark.parametrize(
    "words",
    [
        "exec one -- ls",
        "attach one",
        "port-forward one :80",
        "cp /etc/hosts one:/x",
        "cp one:/etc/hosts x",
    ],
)
def test_the_embedded_host_says_that_it_has_no_containers(kubectl: Kubectl, words: str) -> None:
    kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=30s")
    kubectl("run", "one", "--image=nginx")
    kubectl("wait", "--for=condition=Ready", "pod/one", "--timeout=30s")
    assert "the embedded host only simulates pods" in kubectl.refused(*words.split())
    assert kubectl("logs", "one").out == ""


def test_cordons_taints_and_labels_of_simulated_nodes_hold_until_they_are_taken_off(server: VapiServer) -> None:
    kubectl = server.kubectl()
    edits = (("cordon", "node-3"), ("taint", "node", "node-3", "a=b:NoSchedule"), ("label", "node", "node-3", "a=b"))
    for words in edits:
        assert kubectl(*words).err == ""
    kubectl("run", "elsewhere", "--image=nginx")
    kubectl("wait", "--for=condition=Ready", "pod/elsewhere", "--timeout=30s")
    assert kubectl("get", "pod", "elsewhere", "-o", "jsonpath={.spec.nodeName}").out != "node-3"
    node = json.loads(kubectl("get", "node", "node-3", "-o", "json").out)
    assert node["spec"]["unschedulable"] and node["metadata"]["labels"]["a"] == "b"
    assert [(t["key"], t["value"]) for t in node["spec"]["taints"]] == [("a", "b")]
    for words in (("uncordon", "node-3"), ("taint", "node", "node-3", "a-"), ("label", "node", "node-3", "a-")):
        kubectl(*words)
    node = json.loads(kubectl("get", "node", "node-3", "-o", "json").out)
    assert not node["spec"].get("unschedulable") and not node["spec"].get("taints")


def test_a_drained_node_has_its_pods_evicted(kubectl: Kubectl) -> None:
    deploy(kubectl, replicas=3)
    node = kubectl("get", "pods", "-o", "jsonpath={.items[0].spec.nodeName}").out
    drained = kubectl("drain", node, "--force", "--pod-selector=app=web", "--timeout=30s")
    assert "evicted" in drained.out
    kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    running = kubectl(
        "get", "pods", "--field-selector=status.phase=Running", "-o", "jsonpath={.items[*].spec.nodeName}"
    )
    assert node not in running.out.split()
    kubectl("uncordon", node)


def test_there_are_no_metrics(kubectl: Kubectl) -> None:
    assert kubectl.refused("top", "pods") == "error: Metrics API not available"


# --- writing ------------------------------------------------------------------------------------------


GENERATORS = {
    "configmap x --from-literal=a=b": "configmap/x",
    "secret generic x --from-literal=a=b": "secret/x",
    "secret docker-registry y --docker-username=u --docker-password=p --docker-server=r.io": "secret/y",
    "service clusterip x --tcp=80:8080": "service/x",
    "service nodeport y --tcp=80:8080": "service/y",
    "service loadbalancer z --tcp=80:8080": "service/z",
    "service externalname e --external-name=x.example.com": "service/e",
    "serviceaccount x": "serviceaccount/x",
    "role x --verb=get,list --resource=pods,deployments.apps": "role.rbac.authorization.k8s.io/x",
    "rolebinding x --role=x --serviceaccount=default:x": "rolebinding.rbac.authorization.k8s.io/x",
    "clusterrole NS --verb=get --non-resource-url=/logs/*": "clusterrole.rbac.authorization.k8s.io/NS",
    "clusterrolebinding NS --clusterrole=view --user=u": "clusterrolebinding.rbac.authorization.k8s.io/NS",
    "quota x --hard=pods=20": "resourcequota/x",
    "pdb x --selector=a=b --min-available=1": "poddisruptionbudget.policy/x",
    "ingress x --rule=a.b/c*=svc:80": "ingress.networking.k8s.io/x",
    "priorityclass NS --value=10": "priorityclass.scheduling.k8s.io/NS",
    "job x --image=busybox -- sleep 1": "job.batch/x",
    "cronjob x --image=busybox --schedule=@hourly": "cronjob.batch/x",
}


def test_every_generator_of_create_makes_its_object_once(kubectl: Kubectl) -> None:
    for command, name in GENERATORS.items():
        words = command.replace("NS", kubectl.namespace).split()
        name = name.replace("NS", kubectl.namespace)
        assert kubectl("create", *words).out == f"{name} created"
        assert kubectl("get", name, "-o", "name").out == name
        assert "already exists" in kubectl.refused("create", *words)


def test_what_nothing_acts_on_yet_says_so_when_it_is_written(kubectl: Kubectl) -> None:
    assert "Warning: " in kubectl("label", "flowschema", "catch-all", "a=b").err
    assert kubectl("create", "configmap", "x").err == ""


def test_applying_again_changes_and_removes_what_the_file_does(kubectl: Kubectl) -> None:
    assert kubectl("apply", "-f", "-", stdin=DEPLOYMENT).out == "deployment.apps/app created"
    assert kubectl("apply", "-f", "-", stdin=DEPLOYMENT).out == "deployment.apps/app unchanged"
    assert kubectl("apply", "-f", "-", stdin=CHANGED).out == "deployment.apps/app configured"
    assert kubectl.value("deployment", "app", ".metadata.labels") == '{"stage":"two"}'
    names = kubectl.value("deployment", "app", ".spec.template.spec.containers[0].env[*].name")
    assert names == "A C"


def test_applying_keeps_what_others_wrote(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    kubectl("set", "env", "deployment/app", "OTHER=x")
    kubectl("annotate", "deployment", "app", "note=x")
    kubectl("apply", "-f", "-", stdin=CHANGED)
    names = kubectl.value("deployment", "app", ".spec.template.spec.containers[0].env[*].name").split()
    assert sorted(names) == ["A", "C", "OTHER"]
    assert kubectl.value("deployment", "app", ".metadata.annotations.note") == "x"


def test_diff_tells_what_apply_would_change(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    assert kubectl.run("diff", "-f", "-", stdin=DEPLOYMENT).code == 0
    for words in ((), ("--server-side",)):
        answer = kubectl.run("diff", "-f", "-", *words, stdin=CHANGED)
        assert answer.code == 1
        assert "+    stage: two" in answer.lines
    assert kubectl.value("deployment", "app", ".metadata.labels") == '{"tier":"front"}'


def test_server_side_apply_refuses_to_take_a_field_of_another(kubectl: Kubectl) -> None:
    other = CONFIG.replace('"1"', '"9"')
    ours = ("apply", "--server-side", "-f", "-")
    theirs = (*ours, "--field-manager=other")
    assert kubectl(*ours, stdin=CONFIG).out == "configmap/settings serverside-applied"
    refusal = kubectl.refused(*theirs, stdin=other)
    assert 'conflict with "kubectl": .data.a' in refusal
    kubectl(*theirs, "--force-conflicts", stdin=other)
    assert kubectl.value("configmap", "settings", ".data.a") == "9"
    assert 'conflict with "other": .data.a' in kubectl.refused(*ours, stdin=CONFIG)


def test_server_side_apply_takes_over_from_client_side(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=CONFIG)
    kubectl("apply", "--server-side", "-f", "-", stdin=CONFIG.replace(', b: "2"', ""))
    assert kubectl.value("configmap", "settings", ".data") == '{"a":"1"}'
    fields = yaml.safe_load(kubectl("get", "configmap", "settings", "-o", "yaml", "--show-managed-fields").out)
    managers = {(each["manager"], each["operation"]) for each in fields["metadata"]["managedFields"]}
    assert ("kubectl", "Apply") in managers and ("kubectl-client-side-apply", "Update") not in managers


def test_a_dry_run_answers_and_leaves_everything_as_it_was(kubectl: Kubectl) -> None:
    answer = kubectl("create", "deployment", "web", "--image=nginx", "--dry-run=server", "-o", "json")
    assert json.loads(answer.out)["spec"]["progressDeadlineSeconds"] == 600
    assert "not found" in kubectl.refused("get", "deployment", "web")
    kubectl("create", "configmap", "x")
    kubectl("delete", "configmap", "x", "--dry-run=server")
    kubectl("get", "configmap", "x")


PATCHES = {
    "strategic": '{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"nginx:2"}]}}}}',
    "merge": '{"spec":{"template":{"metadata":{"annotations":{"x":"y"}}},"replicas":1}}',
    "json": '[{"op":"replace","path":"/spec/replicas","value":1}]',
}


@pytest.mark.parametrize("kind", PATCHES)
def test_a_patch_of_each_type_is_applied(kubectl: Kubectl, kind: str) -> None:
    kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    patch = ("patch", "deployment", "app", f"--type={kind}", "-p", PATCHES[kind])
    assert kubectl(*patch).out == "deployment.apps/app patched"
    assert kubectl(*patch).out == "deployment.apps/app patched (no change)"
    env = kubectl.value("deployment", "app", ".spec.template.spec.containers[0].env[*].name")
    assert env == "A B"


def test_a_status_is_patched_through_its_subresource_only(kubectl: Kubectl) -> None:
    kubectl("create", "ingress", "x", "--rule=a.b/c=svc:80")
    patch = ("patch", "ingress", "x", "--type=merge", "-p")
    status = '{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.1"}]}}}'
    kubectl(*patch, status)
    assert kubectl.value("ingress", "x", ".status.loadBalancer.ingress[0].ip") == ""
    kubectl(*patch, status, "--subresource=status")
    assert kubectl.value("ingress", "x", ".status.loadBalancer.ingress[0].ip") == "192.0.2.1"


def test_labels_and_annotations_are_set_changed_and_removed(kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "x")
    kubectl("label", "configmap", "x", "a=1")
    assert "--overwrite is false" in kubectl.refused("label", "configmap", "x", "a=2")
    kubectl("label", "configmap", "x", "a=2", "--overwrite")
    assert kubectl("get", "configmaps", "-l", "a in (2,3)", "-o", "name").out == "configmap/x"
    kubectl("label", "configmap", "x", "a-")
    kubectl("annotate", "configmap", "x", "note=it works")
    assert kubectl.value("configmap", "x", ".metadata.annotations.note") == "it works"
    assert kubectl("get", "configmaps", "-l", "a").out == ""
    assert "is invalid: metadata.labels" in kubectl.refused("label", "configmap", "x", "bad key=1")


def test_an_edit_is_stored_refused_or_given_up(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    edit = ("edit", "deployment", "app")
    assert kubectl(*edit, EDITOR="sed -i s/tier:/layer:/").out == "deployment.apps/app edited"
    assert kubectl.value("deployment", "app", ".metadata.labels") == '{"layer":"front"}'
    assert "no changes made" in kubectl(*edit, EDITOR="true").both


def test_a_replaced_object_must_not_be_stale(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", stdin=CONFIG)
    old = kubectl("get", "configmap", "settings", "-o", "yaml").out
    assert kubectl("replace", "-f", "-", stdin=CONFIG.replace('"1"', '"5"')).out == "configmap/settings replaced"
    assert "the object has been modified" in kubectl.refused("replace", "-f", "-", stdin=old)
    forced = kubectl("replace", "--force", "-f", "-", stdin=CONFIG)
    assert forced.lines[-1] == "configmap/settings replaced"
    assert kubectl.value("configmap", "settings", ".data.a") == "1"


def test_unknown_fields_are_refused_warned_of_or_dropped(kubectl: Kubectl) -> None:
    text = CONFIG + "dat: {}\n"
    assert 'strict decoding error: unknown field "dat"' in kubectl.refused("create", "-f", "-", stdin=text)
    assert 'unknown field "dat"' in kubectl("create", "--validate=warn", "-f", "-", stdin=text).err
    assert kubectl("replace", "--validate=false", "-f", "-", stdin=text).err == ""


# --- deleting -----------------------------------------------------------------------------------------


def test_deleting_a_deployment_ends_its_pods(kubectl: Kubectl) -> None:
    deploy(kubectl)
    kubectl("delete", "deployment", "web")
    kubectl("wait", "--for=delete", "pods", "--all", "--timeout=30s")
    assert kubectl("get", "all", "-o", "name").out == ""


def test_orphans_outlive_their_owner_and_are_adopted_by_the_next(kubectl: Kubectl) -> None:
    deploy(kubectl, replicas=2)
    pods = kubectl("get", "pods", "-o", "name").lines
    kubectl("delete", "deployment", "web", "--cascade=orphan")
    assert len(kubectl("get", "replicasets", "-o", "name").lines) == 1
    deploy(kubectl, replicas=2)
    assert kubectl("get", "pods", "-o", "name").lines == pods
    assert len(kubectl("get", "replicasets", "-o", "name").lines) == 1


def test_a_foreground_deletion_ends_with_its_last_pod(kubectl: Kubectl) -> None:
    deploy(kubectl)
    kubectl("delete", "deployment", "web", "--cascade=foreground", "--timeout=30s")
    assert kubectl("get", "all", "-o", "name").out == ""


def test_a_pod_is_gone_at_once_when_it_is_forced(kubectl: Kubectl) -> None:
    kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=30s")
    kubectl("run", "one", "--image=nginx")
    kubectl("delete", "pod", "one", "--force", "--grace-period=0", "--wait=false")
    assert "not found" in kubectl.refused("get", "pod", "one")


def test_a_namespace_goes_with_all_that_is_in_it(kubectl: Kubectl) -> None:
    deploy(kubectl)
    kubectl("create", "configmap", "x")
    plain = kubectl.within("default")
    plain("delete", "namespace", kubectl.namespace, "--timeout=30s")
    assert "not found" in plain.refused("get", "namespace", kubectl.namespace)
    assert kubectl("get", "all,configmaps", "-o", "name").out == ""
    assert "not found" in kubectl.refused("create", "configmap", "x")


@pytest.mark.parametrize("name", ["default", "kube-system"])
def test_the_namespaces_of_the_system_stay(server: VapiServer, name: str) -> None:
    assert "this namespace may not be deleted" in server.kubectl().refused("delete", "namespace", name)


def test_what_is_deleted_by_label_is_only_that(kubectl: Kubectl) -> None:
    for name in ("a", "b", "c"):
        kubectl("create", "configmap", name)
    kubectl("label", "configmap", "a", "b", "gone=yes")
    kubectl("delete", "configmap", "-l", "gone=yes")
    assert "configmap/c" in kubectl("get", "configmaps", "-o", "name").lines
    assert "not found" in kubectl.refused("delete", "configmap", "a")
    assert kubectl("delete", "configmap", "a", "--ignore-not-found").out == ""


# --- reading ------------------------------------------------------------------------------------------


def test_get_prints_in_every_form(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", stdin=CONFIG)
    get = ("get", "configmap", "settings")
    assert kubectl(*get).lines[0].split() == ["NAME", "DATA", "AGE"]
    assert kubectl(*get, "-o", "name").out == "configmap/settings"
    assert kubectl(*get, "-o", "jsonpath={.data.a}").out == "1"
    assert kubectl(*get, "-o", "custom-columns=N:.metadata.name,A:.data.a").lines[1].split() == ["settings", "1"]
    assert kubectl(*get, "-o", "go-template={{.data.b}}").out == "2"
    as_json, as_yaml = kubectl(*get, "-o", "json").out, kubectl(*get, "-o", "yaml").out
    assert json.loads(as_json) == yaml.safe_load(as_yaml)
    assert "managedFields" not in as_json
    assert "managedFields" in kubectl(*get, "-o", "yaml", "--show-managed-fields").out


def test_long_lists_come_in_chunks_and_sorted(kubectl: Kubectl) -> None:
    objects = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"c{n}", "labels": {"numbered": "yes"}},
            "data": {"order": str(9 - n)},
        }
        for n in range(7)
    ]
    kubectl("create", "-f", "-", stdin=yaml.safe_dump_all(objects))
    names = [f"configmap/c{n}" for n in range(7)]
    listed = kubectl("get", "configmaps", "--chunk-size=3", "-o", "name").lines
    assert [name for name in listed if name != "configmap/kube-root-ca.crt"] == names
    in_order = kubectl("get", "configmaps", "-l", "numbered", "--sort-by=.data.order", "-o", "name").lines
    assert in_order == names[::-1]


def test_get_all_shows_what_a_deployment_is_made_of(kubectl: Kubectl) -> None:
    deploy(kubectl, replicas=1)
    kinds = [line.split("/")[0] for line in kubectl("get", "all", "-o", "name").lines]
    assert kinds == ["pod", "deployment.apps", "replicaset.apps"]
    assert kubectl.namespace in kubectl("get", "all", "-A").out


def test_fields_are_selected(kubectl: Kubectl) -> None:
    deploy(kubectl, replicas=2)
    assert len(kubectl("get", "pods", "--field-selector=status.phase=Running", "-o", "name").lines) == 2
    assert "field label not supported: spec.nope" in kubectl.refused("get", "pods", "--field-selector=spec.nope=1")
    assert "unable to parse requirement" in kubectl.refused("get", "pods", "-l", "a in")


def test_a_name_that_is_not_there_is_not_found(kubectl: Kubectl) -> None:
    assert kubectl.refused("get", "pods", "x") == 'Error from server (NotFound): pods "x" not found'
    assert "the server doesn't have a resource type" in kubectl.refused("get", "nonsense")


def test_explain_knows_the_fields_of_a_pod(server: VapiServer) -> None:
    kubectl = server.kubectl()
    explained = kubectl("explain", "pod.spec.containers").out
    assert "FIELD: containers <[]Container>" in explained and "A single application container" in explained
    recursive = kubectl("explain", "deployment", "--recursive").lines
    assert recursive[0].split() == ["GROUP:", "apps"]
    assert any(line.split()[:1] == ["terminationGracePeriodSeconds"] for line in recursive)
    assert 'field "nope" does not exist' in kubectl.refused("explain", "pod.nope")


def test_discovery_tells_kinds_short_names_and_versions(server: VapiServer) -> None:
    kubectl = server.kubectl()
    rows = {line.split()[0]: line.split() for line in kubectl("api-resources", "--no-headers").lines}
    assert rows["deployments"] == ["deployments", "deploy", "apps/v1", "true", "Deployment"]
    assert rows["nodes"] == ["nodes", "no", "v1", "false", "Node"]
    assert {"apps/v1", "v1", "rbac.authorization.k8s.io/v1"} <= set(kubectl("api-versions").lines)
    assert "Server Version: v1.37" in kubectl("version").out
    assert f"running at {server.url}" in kubectl("cluster-info").out


# --- who may what -------------------------------------------------------------------------------------


def test_the_admin_may_everything(server: VapiServer) -> None:
    kubectl = server.kubectl()
    assert kubectl("auth", "can-i", "--list").lines[1].split() == ["*.*", "[]", "[]", "[*]"]
    assert "system:masters" in kubectl("auth", "whoami").out


def test_nobody_comes_in_with_made_up_credentials(kubectl: Kubectl, server: VapiServer) -> None:
    bare = ("--kubeconfig=/dev/null", f"--server={server.url}", f"--certificate-authority={server.data}/pki/ca.crt")
    for credentials in (("--token=nonsense",), ("--username=a", "--password=b")):
        assert "Unauthorized" in kubectl.refused(*bare, *credentials, "get", "pods")


def test_a_service_account_may_what_its_role_says(kubectl: Kubectl, server: VapiServer) -> None:
    kubectl("create", "serviceaccount", "robot")
    kubectl("create", "role", "reader", "--verb=get,list", "--resource=configmaps")
    kubectl("create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={kubectl.namespace}:robot")
    token = kubectl("create", "token", "robot").out
    user = f"system:serviceaccount:{kubectl.namespace}:robot"
    bare = ("--kubeconfig=/dev/null", f"--server={server.url}", f"--certificate-authority={server.data}/pki/ca.crt")
    for who in ((*bare, f"--token={token}"), (f"--as={user}",)):
        assert user in kubectl(*who, "auth", "whoami").out
        assert kubectl(*who, "auth", "can-i", "list", "configmaps").out == "yes"
        assert kubectl.run(*who, "auth", "can-i", "list", "secrets").out == "no"
        kubectl(*who, "get", "configmaps")
        refusal = kubectl.refused(*who, "get", "secrets")
        assert f'User "{user}" cannot list resource "secrets"' in refusal
        kubectl.refused(*who, "create", "rolebinding", "more", "--clusterrole=admin", f"--user={user}")
    assert "is invalid: spec.expirationSeconds" in kubectl.refused("create", "token", "robot", "--duration=1s")
