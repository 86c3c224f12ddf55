"""Who a request comes from and what it may do.

`pki` makes keys and certificates, `tokens` signs and checks service account
tokens, `authenticator` turns what a connection presented into a `User`, `rbac`
decides, `escalation` keeps roles from granting more than their author holds,
`reviews` answers the review kinds, `bootstrap` holds what exists from the
first start. Nothing here awaits on the path of an ordinary request.
"""
