"""Forms of names: DNS labels and subdomains, qualified names, label values, as apimachinery's validation words them.

Each check answers "" or why the text is refused. Source: k8s.io/apimachinery pkg/util/validation.
"""

from __future__ import annotations

import re

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = rf"({_QUALIFIED})?"
_DNS1035 = r"[a-z]([-a-z0-9]*[a-z0-9])?"

_label = re.compile(_LABEL).fullmatch
_subdomain = re.compile(_SUBDOMAIN).fullmatch
_qualified = re.compile(_QUALIFIED).fullmatch
_label_value = re.compile(_LABEL_VALUE).fullmatch
_dns1035 = re.compile(_DNS1035).fullmatch

MAX_LABEL = 63
MAX_SUBDOMAIN = 253

SUBDOMAIN_MESSAGE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    f"and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
)
LABEL_MESSAGE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    f"with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
)
DNS1035_MESSAGE = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    f"'{_DNS1035}')"
)
_QUALIFIED_FORM = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    f"(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{_QUALIFIED}')"
)
QUALIFIED_TAIL = " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
LABEL_VALUE_MESSAGE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    f"'{_LABEL_VALUE}')"
)


def too_long(limit: int) -> str:
    """Of label keys and values, which Kubernetes counts in bytes."""
    return f"must be no more than {limit} bytes"


def too_many_characters(limit: int) -> str:
    """Of DNS names and the like."""
    return f"must be no more than {limit} characters"


def dns_subdomain(name: str) -> str:
    if len(name) > MAX_SUBDOMAIN:
        return too_many_characters(MAX_SUBDOMAIN)
    return "" if _subdomain(name) else SUBDOMAIN_MESSAGE


def dns_label(name: str) -> str:
    if len(name) > MAX_LABEL:
        return too_many_characters(MAX_LABEL)
    if _label(name):
        return ""
    return "must not contain dots" if _subdomain(name) else LABEL_MESSAGE


def dns1035_label(name: str) -> str:
    if len(name) > MAX_LABEL:
        return too_many_characters(MAX_LABEL)
    return "" if _dns1035(name) else DNS1035_MESSAGE


def path_segment(name: str) -> str:
    """RBAC names: anything that can be one segment of a path. Source: path.IsValidPathSegmentName."""
    if name in (".", ".."):
        return f"may not be '{name}'"
    for bad in ("/", "%"):
        if bad in name:
            return f"may not contain '{bad}'"
    return ""


def qualified_name(text: str) -> str:
    """Label and annotation keys: `[prefix/]name`."""
    prefix, slash, name = text.partition("/")
    if not slash:
        prefix, name = "", text
    elif "/" in name:
        return f"a valid label key {_QUALIFIED_FORM}{QUALIFIED_TAIL}"
    elif not prefix:
        return "prefix part must be non-empty"
    elif problem := dns_subdomain(prefix):
        return f"prefix part {problem}"
    if not name:
        return f"name part must be non-empty; name part {_QUALIFIED_FORM}"
    if len(name) > MAX_LABEL:
        return f"name part {too_long(MAX_LABEL)}"
    return "" if _qualified(name) else f"name part {_QUALIFIED_FORM}"


def label_value(text: str) -> str:
    if len(text) > MAX_LABEL:
        return too_long(MAX_LABEL)
    return "" if _label_value(text) else LABEL_VALUE_MESSAGE
