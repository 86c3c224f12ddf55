"""DNS, as pods of the tenant see it."""

from __future__ import annotations

import re

from conformance.checks.setting import APPS, CORE, LONG_S, Failed, Obj, Setting, expect, get, pod, until

SERVE = "mkdir -p /w && echo {text} >/w/index.html && httpd -f -p 8080 -h /w"
_ADDRESS = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b")


def server(s: Setting, name: str, text: str) -> None:
    """A Service `name`, port 80, whose pod answers with `text`."""
    container = {"ports": [{"containerPort": 8080}]}
    s.running(pod(name, command=SERVE.format(text=text), labels={"app": name}, container=container))
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    s.create("services", {"metadata": {"name": name}, "spec": {"ports": ports, "selector": {"app": name}}})


def service_is_reached_by_name(s: Setting) -> None:
    s.containers()
    server(s, "web", "served")
    s.running(pod("asker"))
    for name in ("web", f"web.{s.namespace}.svc", f"web.{s.namespace}.svc.cluster.local"):
        _answers(s, f"wget -q -O - http://{name}/", "served")


def _answers(s: Setting, script: str, wanted: str) -> None:
    """As soon as addresses and DNS are there."""

    def ask() -> str:
        try:
            return s.sh("asker", script)
        except Failed as error:
            return str(error)

    until(ask, lambda text: text == wanted, f"{wanted!r} from {script}", LONG_S)


def looked_up(s: Setting, name: str) -> list[str]:
    """The addresses that a pod `asker` is told, without the server's own."""
    text = s.sh("asker", f"nslookup {name} || true")
    answer = re.split(r"^Name:", text, maxsplit=1, flags=re.M)
    return sorted(set(_ADDRESS.findall(answer[1]))) if len(answer) > 1 else []


def kinds_of_names_resolve(s: Setting) -> None:
    """Service, headless Service, pod of a StatefulSet, ExternalName, reverse, and one that is not there."""
    s.containers()
    domain = f"{s.namespace}.svc.cluster.local"
    ports = [{"name": "http", "port": 80}]
    plain = s.create("services", {"metadata": {"name": "plain"}, "spec": {"ports": ports}})["spec"]["clusterIP"]
    headless = {"clusterIP": "None", "ports": ports, "selector": {"app": "db"}}
    s.create("services", {"metadata": {"name": "db"}, "spec": headless})
    alias = {"type": "ExternalName", "externalName": f"plain.{domain}"}
    s.create("services", {"metadata": {"name": "alias"}, "spec": alias})
    _stateful_set(s)
    s.running(pod("asker"))
    s.kubectl("rollout", "status", "statefulset/db", "--timeout=110s")
    address = (s.get("pods", "db-0") or {})["status"]["podIP"]
    wanted = {
        f"plain.{domain}": [plain],
        f"db.{domain}": [address],
        f"db-0.db.{domain}": [address],
        f"alias.{domain}": [plain],
        f"nothing.{domain}": [],
    }
    for name, addresses in wanted.items():
        until(lambda n=name: looked_up(s, n), lambda seen, w=addresses: seen == w, f"{name} to be {addresses}", 60)  # type: ignore[misc]
    back = s.sh("asker", f"nslookup {plain} || true")
    if f"plain.{domain}" not in back:
        raise Failed(f"the reverse of {plain} is not plain.{domain}: {back}")
    expect(s.sh("db-0", "hostname"), "db-0", "hostname in the StatefulSet's pod")


def _stateful_set(s: Setting) -> None:
    template = {"metadata": {"labels": {"app": "db"}}, "spec": pod("x")["spec"]}
    spec = {"serviceName": "db", "replicas": 1, "selector": {"matchLabels": {"app": "db"}}, "template": template}
    s.create("statefulsets", {"metadata": {"name": "db"}, "spec": spec}, prefix=APPS)


def its_server_is_as_the_seeds_say(s: Setting) -> None:
    """Service kube-system/kube-dns on port 53, container port 1053, the pinned image, on the host like any pod."""
    s.containers()
    service = get(s.api, f"{CORE}/namespaces/kube-system/services/kube-dns") or {}
    ports = sorted((p["port"], p["protocol"]) for p in service.get("spec", {}).get("ports", ()) if p["port"] == 53)
    expect(ports, [(53, "TCP"), (53, "UDP")], "ports of Service kube-dns")
    found = s.send("GET", f"{APPS}/namespaces/kube-system/deployments")["items"]
    container = next(
        (c for d in found for c in d["spec"]["template"]["spec"]["containers"] if "dns" in c["name"]), None
    )
    if container is None:
        raise Failed("no Deployment of a DNS server in kube-system")
    if not re.search(r"coredns:v?1\.\d+\.\d+(@|$)", container["image"]) or "1.11." in container["image"]:
        raise Failed(f"image of the DNS server: {container['image']}")
    expect(sorted({p["containerPort"] for p in container["ports"] if p["name"].startswith("dns")}), [1053], "its port")


def policies_of_pods_are_kept(s: Setting) -> None:
    """All four dnsPolicies, and a dnsConfig of one's own."""
    s.containers()
    config = {"nameservers": ["192.0.2.53"], "searches": ["own.example"], "options": [{"name": "ndots", "value": "2"}]}
    service = (get(s.api, f"{CORE}/namespaces/kube-system/services/kube-dns") or {})["spec"]["clusterIP"]
    specs: dict[str, Obj] = {
        "first": {},
        "host": {"dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": True},
        "none": {"dnsPolicy": "None", "dnsConfig": config},
        "default": {"dnsPolicy": "Default"},
        "both": {"dnsConfig": {"searches": ["own.example"]}},
    }
    for name, spec in specs.items():
        s.running(pod(name, **spec))
    read = {name: s.sh(name, "cat /etc/resolv.conf") for name in specs}
    for name in ("first", "host", "both"):
        if f"nameserver {service}" not in read[name] or f"{s.namespace}.svc.cluster.local" not in read[name]:
            raise Failed(f"resolv.conf of {name}: {read[name]}")
    if "own.example" not in read["both"] or service in read["none"] + read["default"]:
        raise Failed(f"resolv.conf of both, none, default: {read['both']}; {read['none']}; {read['default']}")
    if not all(x in read["none"] for x in ("192.0.2.53", "own.example", "ndots:2")):
        raise Failed(f"resolv.conf of none: {read['none']}")


def one_name_is_another_service_in_each_cluster(s: Setting) -> None:
    """The same Service in the same namespace of two tenants: other addresses, other pods."""
    s.containers()
    other = s.beside("plain")
    name, seen = f"my-service.{s.namespace}.svc.cluster.local", []
    for cluster, text in ((s, "first"), (other, "second")):
        server(cluster, "my-service", text)
        cluster.running(pod("asker"))
        _answers(cluster, f"wget -q -O - http://{name}/", text)
        seen.append(looked_up(cluster, name))
        expect(seen[-1], [(cluster.get("services", "my-service") or {})["spec"]["clusterIP"]], f"addresses of {name}")
    if seen[0] == seen[1]:
        raise Failed(f"{name} is {seen[0]} in both clusters")


def embedded_server_answers_alike(s: Setting) -> None:
    kinds_of_names_resolve(s.beside("embedded-dns"))
