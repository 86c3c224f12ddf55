"""Built-in admission: one module a subject, each with a function that makes its AdmissionPlugin.

Plugins work on dicts, read the watch cache through `Lookup`, and run on every
write of their resources: what they need of an object in the cache is decoded
once per version of it (`memo.EntryMemo`). The order is in `auth.admission`.
Texts and behaviour: contract §4.3, golden/admission; source: kubernetes
plugin/pkg/admission.
"""
