"""How conformant a Kubernetes API server is, seen from outside.

A client like any other: it takes a kubeconfig, whosever it is, and imports nothing of ours (an import contract says
so). Three questions, three ways to ask them, one kind of answer:

    run      the official e2e suite (`e2e`) and our own checks where it has no test (`checks`)
    replay   recorded requests, whose answers by kube-apiserver are known (`replay`)
    compare  the same requests, sent to two servers

Each test has a name and ends with a `result.Result`. What a combination of server and host is known to do stands in
`expected/*.toml` (`expectation`): test → pass, fail: why, skip: why. `report` holds one against the other, purely,
and says what got worse and what got better; both end the run with exit code 1, so that the files stay true.

`catalogue` knows the 462 official tests of Kubernetes 1.37 by name, class and sig.
"""
