"""Recorded requests, sent again: does this server answer as kube-apiserver 1.37.1 did?

`golden` reads the recordings of `conformance/golden`. `exchanges` sends the files that are lists of requests,
`documents` asks for the others (defaults, discovery, columns, objects of the start, OpenAPI); both give back a
recording of *this* server in the form of the golden file. `normal` takes out of every answer, recorded or fresh, what
differs from run to run. `difference` compares two recordings, `check` counts and words the outcome.

Objects are left as they were found: namespaces get a fresh suffix at each run, which is taken out of the answers
again, and what is outside namespaces is deleted before and after. So one check may follow another on the same server.

The files and what is normalised in them are described in golden/README.md.
"""
