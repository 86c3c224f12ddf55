"""Pods: what is written at birth, what may change, and what a PodSpec must be, in templates too."""
