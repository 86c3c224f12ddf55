"""Whatever happens in whatever order: sums are sums, and what is kept says what a fresh look would say."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vapi.control.scheduler.makers import HOSTNAME, ZONE, World, near, node, pod, spread
from vapi.control.scheduler import scoring
from vapi.control.scheduler.assessment import Assessment
from vapi.control.scheduler.state import pod_info
from vapi.gvk import Obj

NODES = ("a", "b", "c")
LABELS = st.sampled_from([{"app": "x"}, {"app": "y"}])
AFFINITIES = st.one_of(
    st.none(),
    st.builds(
        lambda which, labels, key: {which: near(labels, key)},
        st.sampled_from(["podAffinity", "podAntiAffinity"]),
        LABELS,
        st.sampled_from([HOSTNAME, ZONE]),
    ),
)
SPREADS: st.SearchStrategy[list[Obj]] = st.one_of(
    st.just([]), st.builds(lambda labels: spread(labels, HOSTNAME), LABELS)
)


@st.composite
def pods(draw: st.DrawFn) -> Obj:
    name = draw(st.sampled_from("pqrst"))
    made = pod(
        name,
        draw(st.sampled_from(["", "500m", "2"])),
        on=draw(st.sampled_from(["", *NODES, "gone"])),
        labels=draw(LABELS),
        affinity=draw(AFFINITIES) or {},
        topologySpreadConstraints=draw(SPREADS),
        priority=draw(st.sampled_from([0, 10])),
    )
    made["metadata"]["uid"] = f"{name}-{draw(st.sampled_from('12'))}"
    return made


def nodes() -> st.SearchStrategy[Obj]:
    return st.builds(
        lambda name, zone, off: node(name, zone=zone, unschedulable=off),
        st.sampled_from(NODES),
        st.sampled_from(["", "z1", "z2"]),
        st.booleans(),
    )


STEPS = st.lists(
    st.one_of(
        pods(),
        nodes(),
        st.tuples(st.just("drop pod"), st.sampled_from("pqrst")),
        st.tuples(st.just("drop node"), st.sampled_from(NODES)),
        st.tuples(st.just("assume"), st.sampled_from("pqrst")),
        st.tuples(st.just("forget"), st.sampled_from("pqrst")),
    ),
    max_size=25,
)


def take(world: World, step: Obj | tuple[str, str]) -> None:
    state = world.state
    if isinstance(step, dict):
        world.put(step)
        return
    what, name = step
    known = state.pods.get(("default", name))
    if what == "drop pod":
        state.drop_pod(("default", name))
    elif what == "drop node":
        state.drop_node(name)
    elif what == "assume" and known is not None and not known.node:
        state.assume(known, "a")
    elif what == "forget" and known is not None:
        state.forget(("default", name), known.uid)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_what_nodes_count_is_what_their_pods_ask(steps: list[Obj | tuple[str, str]]) -> None:
    world = World()
    for step in steps:
        take(world, step)
    for each in world.state.nodes.values():
        there = [known for known in world.state.pods.values() if known.node == each.name]
        assert {known.uid for known in there} == set(each.pods)
        assert each.requested.get("cpu", 0) == sum(known.demand.requests.cpu for known in there)
        assert each.cpu == sum(known.demand.requests.scored_cpu for known in there)
        assert set(each.opinionated) == {known.uid for known in there if known.demand.opinions}


@settings(max_examples=150, deadline=None)
@given(STEPS, pods())
def test_an_assessment_that_followed_all_changes_says_what_a_fresh_one_says(
    steps: list[Obj | tuple[str, str]], wanted: Obj
) -> None:
    world = World(node("a"), node("b", zone="z1"))
    wanted["spec"].pop("nodeName", None)
    info = pod_info(wanted, world.demands)
    kept = world.assessment(wanted)
    for step in steps:
        take(world, step)
        said(kept, world, wanted)
    assert said(kept, world, wanted) == said(world.assessment(wanted), world, wanted)
    assert info.demand is pod_info(wanted, world.demands).demand


def said(assessment: Assessment, world: World, wanted: Obj) -> tuple[list[tuple[str, int]], str]:
    """Nodes that fit with their scores, and the verdict on the others."""
    outcome = assessment.outcome(pod_info(wanted, world.demands), world.state.nodes)
    scores = scoring.totals(assessment.demand, "", outcome.fitting, outcome.pairs, {}) if outcome.fitting else []
    assessment.forget_others(world.state.nodes)
    names = [each.node.name for each in outcome.fitting]
    return list(zip(names, scores, strict=True)), outcome.verdict.message()


@settings(max_examples=100, deadline=None)
@given(STEPS, pods(), st.sampled_from(NODES))
def test_trying_another_state_of_a_node_leaves_no_trace(
    steps: list[Obj | tuple[str, str]], wanted: Obj, name: str
) -> None:
    world = World(*(node(each) for each in NODES))
    for step in steps:
        take(world, step)
    if name not in world.state.nodes:
        world.put(node(name))
    assessment = world.assessment(wanted)
    pairs = assessment.pairs(world.state.nodes)
    there = world.state.nodes[name]
    before = [pairs.refusal(each) for each in world.state.nodes.values()]
    emptied = there.clone()
    for uid in list(emptied.pods):
        emptied.remove(uid, there.generation)
    assessment.tried(emptied, assessment.look(there).share, pairs)
    assert [pairs.refusal(each) for each in world.state.nodes.values()] == before
    assert there.requested == world.state.nodes[name].requested
