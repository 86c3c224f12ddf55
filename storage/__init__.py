"""A log of opaque values with one revision clock, behind one protocol and three backends.

`storage` knows keys, revisions and bytes, and nothing of what they mean; it imports nothing of vapi.
Read `store.py` (what every backend does), then `watch.py` (replay and live without gap or repeat), then a backend:
`memory.py` is the reference model, `sqlite.py` the embedded default, `etcd.py` the one for several replicas.
`factory.open_store(url)` opens any of them.

What vapi may rely on, with any backend (tests/storage/contract.py has a test by each name):

 1. A commit raises the current revision; it never falls, restart and compaction included. SQLite and memory: by
    exactly 1, without gaps.
 2. Every event is published, in revision order, before its write is acknowledged. etcd: after 3 s without the event
    the acknowledgement goes first.
 3. `watch(prefix, since=r)` yields each event with a revision > r once, in order, or raises `Compacted` before it
    yields anything. A watch that is overtaken by a compaction, or by the loss of etcd's feed, ends with `Compacted`.
 4. `Progress(r)` promises that nothing ≤ r will follow.
 5. A DELETED event carries the last value; an update's previous value is readable as long as the update is.
 6. A slow subscriber is closed with a reason; the others do not notice.
 7. Values are opaque: nothing in the package parses them.
 8. An acknowledged write survives SIGKILL and power loss. SQLite: WAL, synchronous=FULL. (Memory: of course not.)
 9. One write is one key and one revision. What needs two keys is two writes, in an order whose first half alone is
    harmless.
10. `create(key, value, guard=(key, revision))` fails unless the guard key is still at that revision, in the same
    transaction.
11. A lost compare-and-swap is answered after the commit of the group that decided it (etcd: once the feed has reached
    the answer's revision): the retry finds the winner in the cache, and no crash takes back what a loser was told.
12. A submitted write cannot be cancelled: a disconnect or a deadline gives up the answer, not the commit. A COMMIT
    that fails fails its whole group, publishes nothing and frees its revisions.
13. A write whose outcome is unknown (`OutcomeUnknown`) is never sent again by the store: the second try could report
    a conflict with its own success.
"""
