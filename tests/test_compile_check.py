"""What is compiled for chips that are not here, without the compilers for them."""

import re

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.sharding import NamedSharding

from scarlet_jax import compile_check, devices, gpus, hlo
from scarlet_jax.errors import InputError

# Of NVIDIA's data sheets: multiprocessors, GHz, GiB and TB/s of memory, MiB of L2; of its CUDA
# programming guide: compute capability, KiB of shared memory a multiprocessor and a block.
PUBLIC = {
    "a100": (108, 1.41, 80, 2.04, 40, 8, 164, 163),
    "h100": (132, 1.98, 80, 3.35, 50, 9, 228, 227),
    "h200": (132, 1.98, 141, 4.8, 50, 9, 228, 227),
    "b200": (148, 1.965, 180, 7.7, 126, 10, 228, 227),
}
FIGURES = {
    "threads_per_block_limit",
    "threads_per_warp",
    "threads_per_core_limit",
    "shared_memory_per_block",
    "shared_memory_per_block_optin",
    "shared_memory_per_core",
    "registers_per_block_limit",
    "registers_per_core_limit",
    "core_count",
    "fpus_per_core",
    "clock_rate_ghz",
    "device_memory_size",
    "memory_bandwidth",
    "l2_cache_size",
    "block_dim_limit_x",
    "block_dim_limit_y",
    "block_dim_limit_z",
}


def step(index, x):
    return jnp.sin(x) @ x


def control_flow(function, *arguments):
    return hlo.control_flow(jax.jit(function).lower(*arguments).compile().as_text())


@pytest.mark.parametrize("name", PUBLIC)
def test_a_gpu_is_described_in_full_by_its_public_figures(name):
    text = gpus.GPUS[name].target_config()
    info, rest = re.fullmatch(r"gpu_device_info \{(.*?\{.*?\})\} (.*)", text).groups()
    figures, capability = re.fullmatch(r"(.*) cuda_compute_capability \{(.*)\}", info).groups()
    figure = {key: float(value) for key, value in re.findall(r"(\w+): (\S+)", figures)}
    assert figure.keys() == FIGURES
    cores, clock, memory, bandwidth, l2, major, shared, optin = PUBLIC[name]
    assert figure["core_count"] == cores
    assert figure["clock_rate_ghz"] == clock
    assert figure["device_memory_size"] / 2**30 == pytest.approx(memory, rel=0.02)
    assert figure["memory_bandwidth"] / 1e12 == pytest.approx(bandwidth, rel=0.01)
    assert figure["l2_cache_size"] / 2**20 == pytest.approx(l2, rel=0.01)
    assert figure["shared_memory_per_core"] == shared * 1024
    assert figure["shared_memory_per_block_optin"] == optin * 1024
    assert figure["registers_per_core_limit"] == 65536
    assert capability.split()[:2] == ["major:", str(major)]
    assert rest.startswith('platform_name: "CUDA" dnn_version_info {')
    assert name.upper() in rest


@pytest.mark.parametrize("name", ["v5e:4x5", "h101", ""])
def test_unknown_topology(name):
    allowed = "a100, h100, h200, b200, h100:8 and so on, with pip .* v5e:4x4 with"
    with pytest.raises(InputError, match=f"topology '{name}' .* {allowed}"):
        compile_check.describe(name)


@pytest.mark.parametrize(
    ("name", "extra", "reason"),
    [
        ("h100", "gpu", NotImplementedError("topology not implemented for cuda")),
        ("v5e:4x4", "tpu", RuntimeError("JAX TPU support not installed;\nSee its page")),
    ],
)
def test_a_missing_compiler_is_one_line_that_says_what_to_install(name, extra, reason, monkeypatch):
    def get_topology_desc(*_, **__):
        raise reason

    monkeypatch.setattr(compile_check.topologies, "get_topology_desc", get_topology_desc)
    with pytest.raises(
        InputError, match=rf"'{name}' .*pip install 'scarlet-jax\[{extra}\]'"
    ) as error:
        compile_check.describe(name)
    assert len(str(error.value).splitlines()) == 1


def test_a_loop_between_bounds_of_the_program_has_a_known_length():
    counts = control_flow(lambda x: lax.fori_loop(0, 7, step, x), jnp.ones((4, 4)))
    assert counts == (0, 1, 0)


def test_a_loop_to_an_argument_has_an_unknown_length():
    counts = control_flow(lambda x, n: lax.fori_loop(0, n, step, x), jnp.ones((4, 4)), 3)
    assert counts == (0, 1, 1)


@pytest.mark.parametrize(("length", "expected"), [(7, 0), (None, 1)])
def test_the_length_of_a_loop_is_seen_before_compiling(length, expected):
    @jax.jit
    def program(x, n):
        rounds = n if length is None else length
        return lax.cond(n > 1, lambda x: lax.fori_loop(0, rounds, step, x), lambda x: x, x)

    assert compile_check.loops_without_length(program.trace(jnp.ones((4, 4)), 3)) == expected


def test_loops_in_the_branches_of_a_conditional_count():
    def program(x, n):
        return lax.cond(
            n > 1,
            lambda x: lax.fori_loop(0, n, step, x),
            lambda x: lax.fori_loop(0, 7, step, x),
            x,
        )

    assert control_flow(program, jnp.ones((4, 4)), 3) == (1, 2, 1)


def test_names_and_operands_do_not_count():
    def conditional(x):
        with jax.named_scope("while(conditional("):
            return step(0, x)

    assert control_flow(conditional, jnp.ones((4, 4))) == (0, 0, 0)


def test_shapes_of_every_kind_are_read():
    """A TPU's tilings, nested tuples and the numbers of a long tuple's members."""
    module = """
%body (p: (s32[], f32[4])) -> (s32[], f32[4]) {
  %a.1 = bf16[8,128]{1,0:T(8,128)(2,1)S(1)} conditional(%p, %q, %r), branch_computations={%s, %t}
  ROOT %w = ((s32[]{:T(128)}, f32[4]), /*index=1*/u8[0]) while(%a.1), condition=%c, body=%b
}

ENTRY main (p: f32[4]) -> f32[4] {
  v = token[] while(%p), backend_config={"known_trip_count":{"n":"13"}}
  %while.2 = f32[4]{0} get-tuple-element(%w), index=1
  ROOT %t = (f32[4]{0}, f32[4]{0}) tuple(%while.2, %conditional)
}
"""
    assert hlo.control_flow(module) == (1, 2, 1)


def on_mesh(function, *shapes):
    """The text of a program on eight devices, of arrays that are spread over them."""
    mesh = devices.make_mesh()
    spread = devices.program(mesh, function, (devices.SPREAD,) * len(shapes), devices.WHOLE)
    arrays = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return spread.lower(*devices.abstract(arrays, NamedSharding(mesh, devices.SPREAD)))


def total(x):
    return lax.psum(x.sum(axis=0), devices.DATA)  # 8 numbers


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: x.sum() * 0, (0, 0)),
        (total, (1, 32)),
        (lambda x: lax.scan(lambda c, _: (total(c + x), None), x[0], length=7)[0], (7, 7 * 32)),
        (
            lambda x: lax.fori_loop(
                0, 3, lambda _, c: lax.fori_loop(0, 5, lambda _, d: total(d + x), c), x[0]
            ),
            (15, 15 * 32),
        ),
        (lambda x: lax.cond(x.sum() > 0, total, lambda x: x[0], x), (1, 32)),
    ],
)
def test_collectives_count_as_often_as_they_run(function, expected):
    assert hlo.collectives(on_mesh(function, (8, 8)).compile().as_text()) == expected


def test_collectives_of_a_loop_whose_rounds_are_in_its_condition_alone():
    """As a TPU's compiler writes it; asynchronous ones begin once."""
    module = """
%cond (p: (s32[], f32[4])) -> pred[] {
  %n = s32[]{:T(128)} constant(13), metadata={op_name="jit(_compute)"}
  ROOT %lt = pred[] compare(%i, %n), direction=LT
}

%body.1 (p: (s32[], f32[4])) -> (s32[], f32[4]) {
  %psum.1 = (f32[2,24]{1,0:T(2,128)}, bf16[8]{0}) all-reduce(%a, %b), to_apply=%region
  %start = f32[4]{0} all-reduce-start(%c), to_apply=%region
  %done = f32[4]{0} all-reduce-done(%start)
}

ENTRY %main.2 (p: f32[4]) -> f32[4] {
  ROOT %w = ((s32[]{:T(128)}, f32[4]), u8[0]) while(%a.1), condition=%cond, body=%body.1
}
"""
    assert hlo.collectives(module) == (26, 13 * (2 * 24 * 4 + 8 * 2 + 4 * 4))
