"""Our own black-box checks, where no official test exists: what a tenant sees, and what its host sees.

Grouped and numbered as the requirements they come from: POD-1 is a line of the checklist for syncers. A check is a
function of a `setting.Setting`, which holds a fresh namespace; it returns, or raises `setting.Failed` with what was
wrong. `table.CHECKS` lists all. The host's side is looked at if a second kubeconfig is given.
"""
