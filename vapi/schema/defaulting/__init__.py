"""Defaults by area, as functions that edit one private, canonical object in place.

`schema.defaults` has the table of kinds. What a field is by default is taken
from Kubernetes 1.37 (pkg/apis/*/v1/defaults.go and the generated defaults) and checked against golden/defaults.
"""
