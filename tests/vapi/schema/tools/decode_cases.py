"""Bodies whose answers `data/decode_recorded.json` holds, as a real kube-apiserver 1.37.1 gave them.

Each case is (path, content type, body); all are POSTed with dryRun=All. Record again with
`python -m tests.vapi.schema.tools.record_decode KUBECONFIG`.
"""

from __future__ import annotations

from typing import Any

CM = "/api/v1/namespaces/default/configmaps"
POD = "/api/v1/namespaces/default/pods"
SVC = "/api/v1/namespaces/default/services"
SECRET = "/api/v1/namespaces/default/secrets"
DEPLOY = "/apis/apps/v1/namespaces/default/deployments"
EVENT = "/api/v1/namespaces/default/events"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
REVISION = "/apis/apps/v1/namespaces/default/controllerrevisions"
JSON = "application/json"
YAML = "application/yaml"
NAME = '"metadata":{"name":"x"}'
META = '{"apiVersion":"v1","kind":"ConfigMap","metadata":'


def pod(spec: str) -> str:
    return f'{{"apiVersion":"v1","kind":"Pod",{NAME},"spec":{spec}}}'


def container(extra: str) -> str:
    return pod(f'{{"containers":[{{"name":"c","image":"i:1",{extra}}}]}}')


def configmap(extra: str) -> str:
    return f'{{"apiVersion":"v1","kind":"ConfigMap",{NAME},{extra}}}'


def deployment(spec: str) -> str:
    return f'{{"apiVersion":"apps/v1","kind":"Deployment",{NAME},"spec":{spec}}}'


CASES: list[tuple[str, str, str]] = [
    # types of scalars
    (CM, JSON, configmap('"data":{"a":true}')),
    (CM, JSON, configmap('"data":{"a":{}}')),
    (CM, JSON, configmap('"data":{"a":[1]}')),
    (CM, JSON, configmap('"data":{"a":1.5}')),
    (CM, JSON, configmap('"data":"x"')),
    (CM, JSON, configmap('"data":[]')),
    (CM, JSON, configmap('"data":1')),
    (CM, JSON, configmap('"data":{"a":null,"b":"x"}')),
    (CM, JSON, configmap('"data":null')),
    (CM, JSON, configmap('"immutable":"yes"')),
    (CM, JSON, configmap('"immutable":null')),
    (CM, JSON, configmap('"binaryData":{"a":"!!"}')),
    (CM, JSON, configmap('"binaryData":{"a":"YWJj"}')),
    (CM, JSON, configmap('"binaryData":{"a":"YWJ"}')),
    (CM, JSON, configmap('"binaryData":{"a":"YWJj\\nYWJj"}')),
    (CM, JSON, configmap('"binaryData":{"a":"YWJj*"}')),
    (CM, JSON, configmap('"binaryData":{"a":"=YWJ"}')),
    (CM, JSON, configmap('"binaryData":{"a":5}')),
    (CM, JSON, configmap('"binaryData":{"a":[1,2]}')),
    (CM, JSON, configmap('"binaryData":{"a":null}')),
    (CM, JSON, configmap('"data":{"a":1},"binaryData":{"a":"!!"}')),
    (CM, JSON, META + '"x"}'),
    (CM, JSON, META + "[]}"),
    (CM, JSON, META + '{"name":5}}'),
    (CM, JSON, META + '{"name":"x","labels":{"a":1}}}'),
    (CM, JSON, META + '{"name":"x","labels":["a"]}}'),
    (CM, JSON, META + '{"name":"x","creationTimestamp":"yesterday"}}'),
    (CM, JSON, META + '{"name":"x","creationTimestamp":5}}'),
    (CM, JSON, META + '{"name":"x","creationTimestamp":{}}}'),
    (CM, JSON, META + '{"name":"x","creationTimestamp":"2026-01-01T02:00:00.5+02:00"}}'),
    (CM, JSON, META + '{"name":"x","creationTimestamp":""}}'),
    (CM, JSON, META + '{"name":"x","generation":"5"}}'),
    (CM, JSON, META + '{"name":"x","generation":1.5}}'),
    (CM, JSON, META + '{"name":"x","generation":1e2}}'),
    (CM, JSON, META + '{"name":"x","generation":99999999999999999999}}'),
    (CM, JSON, META + '{"name":"x","finalizers":"a"}}'),
    (CM, JSON, META + '{"name":"x","finalizers":[1]}}'),
    (CM, JSON, META + '{"name":"x","ownerReferences":[{"name":1}]}}'),
    (CM, JSON, META + '{"name":"x","managedFields":[{"fieldsV1":"x"}]}}'),
    (CM, JSON, META + '{"name":"x","managedFields":[{"fieldsV1":5}]}}'),
    (CM, JSON, META + '{"name":"x","managedFields":[{"time":"now"}]}}'),
    (CM, JSON, META + "null}"),
    # pods
    (POD, JSON, pod('"x"')),
    (POD, JSON, pod("[]")),
    (POD, JSON, pod("{}")),
    (POD, JSON, pod('{"containers":"x"}')),
    (POD, JSON, pod('{"containers":{}}')),
    (POD, JSON, pod('{"containers":null}')),
    (POD, JSON, pod('{"containers":["x"]}')),
    (POD, JSON, pod('{"containers":[null]}')),
    (POD, JSON, pod('{"containers":[{"name":"c","image":"i:1"}],"activeDeadlineSeconds":"5"}')),
    (POD, JSON, pod('{"containers":[{"name":"c","image":"i:1"}],"hostNetwork":"true"}')),
    (POD, JSON, pod('{"containers":[{"name":"c","image":"i:1"}],"nodeSelector":{"a":true}}')),
    (POD, JSON, pod('{"containers":[{"name":"c","image":"i:1"}],"securityContext":"x"}')),
    (POD, JSON, pod('{"containers":[{"name":"c","image":"i:1"}],"restartPolicy":1}')),
    (POD, JSON, pod('{"containers":[{"name":"c","image":"i:1"}],"volumes":[{"name":"v","emptyDir":"x"}]}')),
    (POD, JSON, pod('{"containers":[{"name":"c","image":"i:1"}],"volumes":[{"name":1}]}')),
    (POD, JSON, pod('{"containers":[{"name":"c","image":"i:1"}],"tolerations":[{"tolerationSeconds":"x"}]}')),
    (POD, JSON, pod('{"containers":[{"name":"c","image":"i:1"}],"affinity":{"nodeAffinity":[]}}')),
    (POD, JSON, container('"ports":[{"containerPort":"80"}]')),
    (POD, JSON, container('"ports":[{"containerPort":80.5}]')),
    (POD, JSON, container('"ports":[{"containerPort":80.0}]')),
    (POD, JSON, container('"ports":[{"containerPort":99999999999}]')),
    (POD, JSON, container('"ports":[{"containerPort":80,"hostPort":true}]')),
    (POD, JSON, container('"resources":{"limits":{"cpu":true}}')),
    (POD, JSON, container('"resources":{"limits":{"cpu":{}}}')),
    (POD, JSON, container('"resources":{"limits":{"cpu":"abc"}}')),
    (POD, JSON, container('"resources":{"limits":{"cpu":"1x"}}')),
    (POD, JSON, container('"resources":{"limits":{"cpu":""}}')),
    (POD, JSON, container('"resources":{"limits":["cpu"]}')),
    (POD, JSON, container('"resources":{"limits":{"cpu":1,"memory":0.5}}')),
    (POD, JSON, container('"resources":{"limits":{"cpu":"1000m","memory":"1024Mi"}}')),
    (POD, JSON, container('"resources":{"limits":{"cpu":"1.5","memory":"1e3"}}')),
    (POD, JSON, container('"resources":{"limits":{"cpu":"0.1","memory":"1500k"}}')),
    (POD, JSON, container('"resources":{"limits":{"cpu":"+1","memory":"0Mi"}}')),
    (POD, JSON, container('"resources":{"limits":{"cpu":"1.0005","memory":"1.5Gi"}}')),
    (POD, JSON, container('"resources":{"limits":{"cpu":" 1 ","memory":"5000000"}}')),
    (POD, JSON, container('"resources":{"limits":{"cpu":null}}')),
    (POD, JSON, container('"env":[{"name":"a","value":1}]')),
    (POD, JSON, container('"env":[{"name":"a","value":true}]')),
    (POD, JSON, container('"env":{"a":"b"}')),
    (POD, JSON, container('"command":"sh"')),
    (POD, JSON, container('"command":["sh",1]')),
    (POD, JSON, container('"command":[null]')),
    (POD, JSON, container('"command":[],"args":null,"env":[]')),
    (POD, JSON, container('"livenessProbe":{"httpGet":{"port":true}}')),
    (POD, JSON, container('"livenessProbe":{"httpGet":{"port":1.5}}')),
    (POD, JSON, container('"livenessProbe":{"httpGet":{"port":{}}}')),
    (POD, JSON, container('"livenessProbe":{"httpGet":{"port":99999999999}}')),
    (POD, JSON, container('"livenessProbe":{"httpGet":{"port":80},"initialDelaySeconds":"x"}')),
    (POD, JSON, container('"livenessProbe":{"httpGet":{"port":80},"initialDelaySeconds":0}')),
    (POD, JSON, container('"stdin":false,"tty":null,"workingDir":""')),
    (POD, JSON, container('"env":[{"name":"a","valueFrom":{"resourceFieldRef":{"resource":"limits.cpu"}}}]')),
    (POD, JSON, container('"command":[1],"ports":[{"containerPort":"x"}],"resources":{"limits":{"cpu":"abc"}}')),
    # unknown fields, in the order of Go, and the same with a type error behind
    (POD, JSON, container('"foo":1,"ports":[{"containerPort":80,"bar":{}}],"resources":{"x":{"y":1}}')),
    (POD, JSON, container('"foo":1,"command":[1]')),
    (POD, JSON, container('"Image":"x","IMAGE":"y"')),
    (CM, JSON, configmap('"Data":{"a":"b"}')),
    (CM, JSON, META + '{"name":"x","clusterName":"c","Labels":{}}}'),
    (CM, JSON, configmap('"kind":"ConfigMap"')),
    (CM, JSON, configmap('"data":{"a":"1"},"data":{"b":"2"}')),
    (CM, JSON, configmap('"data":{"a":"1","a":"1","a":"2"},"x":{"y":1,"y":2}')),
    (CM, JSON, configmap('"x y":1,"a\\"b":2,"data":{"p.q":"1","p.q":"2"}')),
    (POD, JSON, container('"command":["a"],"command":["b","c"],"x":1,"x":1')),
    (POD, JSON, pod('{"containers":[{"name":"a","name":"b","image":"i"},{"name":"c","image":"i","x":1}]}')),
    (CM, JSON, META + '{"name":"x","annotations":{"a.b/c":"1","a.b/c":"2"}}}'),
    # documents
    (CM, JSON, "{}"),
    (CM, JSON, "[]"),
    (CM, JSON, '"x"'),
    (CM, JSON, "5"),
    (CM, JSON, "null"),
    (CM, JSON, "true"),
    (CM, JSON, "{"),
    (CM, JSON, '{"a"}'),
    (CM, JSON, '{"a":}'),
    (CM, JSON, '{"a":1,}'),
    (CM, JSON, '{"a":1}}'),
    (CM, JSON, '{"a":01}'),
    (CM, JSON, '{"a":tru}'),
    (CM, JSON, '{"a":"\x01"}'),
    (CM, JSON, '{"a":"\\x"}'),
    (CM, JSON, '{"a":"b'),
    (CM, JSON, '{"a":1'),
    (CM, JSON, '{"a":-}'),
    (CM, JSON, '{"a":NaN}'),
    (CM, JSON, "{'a':1}"),
    (CM, JSON, "   "),
    (CM, JSON, "apiVersion: v1\nkind: ConfigMap\n"),
    (CM, JSON, configmap('"data":{"a":"\\ud800"}')),
    (CM, JSON, '{"kind":5,"metadata":{"name":"x"}}'),
    (CM, JSON, '{"kind":"ConfigMap","metadata":{"name":"x"}}'),
    (CM, JSON, '{"apiVersion":"v1","metadata":{"name":"x"}}'),
    (CM, JSON, '{"apiVersion":"v1","kind":"","metadata":{"name":"x"}}'),
    (CM, JSON, '{"apiVersion":"a/b/c","kind":"ConfigMap","metadata":{"name":"x"}}'),
    (CM, JSON, '{"apiVersion":"foo/v1","kind":"ConfigMap","metadata":{"name":"x"}}'),
    (CM, JSON, '{"apiVersion":"apps/v1","kind":"ConfigMap","metadata":{"name":"x"}}'),
    (CM, JSON, '{"apiVersion":"v1","kind":"Nope","metadata":{"name":"x"}}'),
    (CM, JSON, '{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"x"}}'),
    (CM, JSON, '{"apiVersion":"v1","kind":"ConfigMapList","items":[]}'),
    (CM, JSON, '{"apiVersion":"v1","kind":"DeleteOptions"}'),
    (CM, JSON, '{"apiVersion":"v2","metadata":{"name":"x"}}'),
    (CM, JSON, '{"kind":"Secret","metadata":{"name":"x"}}'),
    (DEPLOY, JSON, '{"apiVersion":"extensions/v1beta1","kind":"Deployment","metadata":{"name":"x"}}'),
    (DEPLOY, JSON, '{"apiVersion":"apps/v1beta1","kind":"Deployment","metadata":{"name":"x"}}'),
    (DEPLOY, JSON, '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"}}'),
    (DEPLOY, JSON, '{"kind":"Pod","metadata":{"name":"x"}}'),
    (DEPLOY, JSON, deployment('{"replicas":"3"}')),
    (DEPLOY, JSON, deployment('{"replicas":3.0}')),
    (DEPLOY, JSON, deployment('{"replicas":-1e2}')),
    (DEPLOY, JSON, deployment('{"template":{"spec":{"containers":[{"name":5}]}}}')),
    (DEPLOY, JSON, deployment('{"strategy":{"rollingUpdate":{"maxSurge":true}}}')),
    (DEPLOY, JSON, deployment('{"selector":{"matchExpressions":[{"values":"x"}]}}')),
    (SVC, JSON, f'{{"apiVersion":"v1","kind":"Service",{NAME},"spec":{{"ports":[{{"port":"80"}}]}}}}'),
    (SVC, JSON, f'{{"apiVersion":"v1","kind":"Service",{NAME},"spec":{{"ports":[{{"port":80,"targetPort":[]}}]}}}}'),
    (SECRET, JSON, f'{{"apiVersion":"v1","kind":"Secret",{NAME},"data":{{"a":"YQ="}}}}'),
    (SECRET, JSON, f'{{"apiVersion":"v1","kind":"Secret",{NAME},"data":{{"a":"YR=="}}}}'),
    (SECRET, JSON, f'{{"apiVersion":"v1","kind":"Secret",{NAME},"data":{{"a":""}}}}'),
    (SECRET, JSON, f'{{"apiVersion":"v1","kind":"Secret",{NAME},"stringData":{{"a":5}}}}'),
    (LEASE, JSON, f'{{"kind":"Lease",{NAME},"spec":{{"renewTime":"2026-01-01T00:00:00Z"}}}}'),
    (LEASE, JSON, f'{{"kind":"Lease",{NAME},"spec":{{"renewTime":"2026-01-01T00:00:00.123456789Z"}}}}'),
    (LEASE, JSON, f'{{"kind":"Lease",{NAME},"spec":{{"renewTime":"2026-01-01"}}}}'),
    (LEASE, JSON, f'{{"kind":"Lease",{NAME},"spec":{{"renewTime":7}}}}'),
    (LEASE, JSON, f'{{"kind":"Lease",{NAME},"spec":{{"renewTime":"2026-01-01T02:00:00.5+02:00"}}}}'),
    (REVISION, JSON, f'{{"kind":"ControllerRevision",{NAME},"data":"x","revision":1}}'),
    (REVISION, JSON, f'{{"kind":"ControllerRevision",{NAME},"data":{{"a":[1,null,{{"b":null}}]}},"revision":1}}'),
    (REVISION, JSON, f'{{"kind":"ControllerRevision",{NAME},"revision":1}}'),
    # YAML
    (CM, YAML, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a: 1}\n"),
    (CM, YAML, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a: yes}\n"),
    (CM, YAML, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a: ~, b: 'x'}\n"),
    (CM, YAML, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a: 2026-01-01}\n"),
    (CM, YAML, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a: 2026-01-01T00:00:00Z, 1: x}\n"),
    (CM, YAML, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a: b, a: c}\n"),
    (CM, YAML, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, foo: 1}\nbar: 2\n"),
    (CM, YAML, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\nx: {a: 1, a: 2}\ndata: {a: b, a: c}\n"),
    (CM, YAML, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {1: x, true: z, 1.5: w, ~: q}\n"),
    (CM, YAML, "a: b\n- c\n"),
    (CM, YAML, "a: [b\n"),
    (CM, YAML, "\tx: 1\n"),
    (CM, YAML, "- a\n"),
    (CM, YAML, "just text"),
    (CM, YAML, ""),
    (CM, YAML, "# nothing\n"),
    (CM, YAML, "kind: ConfigMap\nmetadata: {name: x}\n---\nkind: ConfigMap\nmetadata: {name: y}\n"),
    (CM, YAML, "---\nkind: ConfigMap\nmetadata: {name: x}\n"),
    (CM, YAML, "kind: ConfigMap\nmetadata: &m {name: x}\ndata: &d {a: b}\nbinaryData: *d\n"),
    (CM, YAML, "kind: ConfigMap\nmetadata: {name: x}\ndata: {<<: {a: b}, c: d}\n"),
    (CM, YAML, "kind: ConfigMap\nmetadata: {name: x}\ndata: {a: !!binary aGk=}\n"),
    (CM, YAML, "kind: ConfigMap\nmetadata: {name: x}\ndata: {a: *nope}\n"),
    (CM, YAML, "kind: ConfigMap\nmetadata: {name: x}\ndata: {a: 0o17, b: 017}\n"),
    (DEPLOY, YAML, "kind: Deployment\nmetadata: {name: x}\nspec: {replicas: 3.0, minReadySeconds: 0x10}\n"),
    (DEPLOY, YAML, "kind: Deployment\nmetadata: {name: x}\nspec: {replicas: 3.5}\n"),
    (DEPLOY, YAML, "kind: Deployment\nmetadata: {name: x}\nspec: {replicas: .inf}\n"),
    (DEPLOY, YAML, "kind: Deployment\nmetadata: {name: x}\nspec: {replicas: '3'}\n"),
    (DEPLOY, YAML, "kind: Deployment\nmetadata: {name: x}\nspec: {paused: on, replicas: 1_000}\n"),
    (CM, YAML, '{"kind":"ConfigMap","metadata":{"name":"x"},"data":{"a":"b","a":"c"}}'),
    (CRD, JSON, '{"kind":"CustomResourceDefinition","metadata":{"name":"x"},"spec":{"versions":[{"name":1}]}}'),
    (
        CRD,
        JSON,
        '{"kind":"CustomResourceDefinition","metadata":{"name":"x"},"spec":{"versions":[{"name":"v1","schema":'
        '{"openAPIV3Schema":{"type":"object","properties":{"a":{"items":5,"maximum":"x"}}}}}]}}',
    ),
    (
        CRD,
        JSON,
        '{"kind":"CustomResourceDefinition","metadata":{"name":"x"},"spec":{"versions":[{"name":"v1","schema":'
        '{"openAPIV3Schema":{"type":5,"nope":1,"properties":{"a":{"default":{"x":null},"foo":1}}}}}]}}',
    ),
    (EVENT, JSON, f'{{"kind":"Event",{NAME},"involvedObject":[],"count":"x"}}'),
    (EVENT, JSON, f'{{"kind":"Event",{NAME},"eventTime":"x"}}'),
]


def title(case: tuple[str, str, str]) -> str:
    path, content_type, body = case
    return f"{path.rsplit('/', 1)[1]} {content_type.rsplit('/', 1)[1]} {body[:160]}"


def deep(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


Recorded = dict[str, Any]
