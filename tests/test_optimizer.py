"""Schedules and optimizers: against PyTorch, by hand, and block by block of a supernet."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from scarlet_jax import settings
from scarlet_jax.configs import base
from scarlet_jax.errors import InputError
from scarlet_jax.train import optimizer, rules

RATES = (0.02, 0.05, 0.01)  # of three steps
MANY = ("sgd", "rmsprop", "adam", "adamw", "lion", "lamb", "muon", "adafactor")
DECOUPLED = ("adamw", "lion", "muon", "adafactor")


def section(name="sgd", kwargs=None, **changes):
    """A training section, checked."""
    training = base.get_config().unlock().supernet
    training.update(changes)
    training.optimizer.name = name
    if kwargs is not None:
        training.optimizer.kwargs = kwargs
    checked = settings.check_section(settings.Supernet, training, "supernet")
    training.update(checked.model_dump())
    training.optimizer.kwargs = checked.optimizer.kwargs
    return training


def draw(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def stepper(training, wrap=lambda rule: rule):
    """`(params, gradients, rates) -> (params, state)`, a step at each rate, compiled once."""
    rule_at = lambda rate: wrap(optimizer.make_optimizer(training, rate))  # noqa: E731

    @jax.jit
    def step(rate, grads, state, params):
        updates, state = rule_at(rate).update(grads, state, params)
        return optax.apply_updates(params, updates), state

    def run(params, gradients, rates=RATES):
        state = jax.jit(rule_at(rates[0]).init)(params)
        for rate, grads in zip(rates, gradients, strict=True):
            params, state = step(rate, grads, state, params)
        return params, state

    return run


def close(ours, theirs, tolerance=1e-6):
    compare = lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)  # noqa: E731
    jax.tree.map(compare, ours, theirs)


def take(tree, stage, group, index):
    """One block's arrays, of parameters or a state."""
    return jax.tree.map(lambda leaf: leaf[index], tree["stages"][stage][group])


class TestSchedules:
    def test_cosine_by_hand(self):
        schedule = optimizer.make_schedule(section(steps=110, warmup_steps=10, learning_rate=2.0))
        rates = [float(schedule(n)) for n in (0, 5, 10, 110)]
        assert rates == pytest.approx([0, 1, 2, 0], abs=1e-6)
        assert float(schedule(60)) == pytest.approx(1.0)

    def test_steps_by_hand(self):
        schedule = optimizer.make_schedule(
            section(steps=100, warmup_steps=10, schedule="step", learning_rate=1.0)
        )
        rates = [float(schedule(n)) for n in (5, 49, 51, 74, 76)]
        assert rates == pytest.approx([0.5, 1, 0.1, 0.1, 0.01])


class TestAgainstPyTorch:
    """Three steps of a kernel, which decays, and a bias, which does not."""

    @pytest.mark.parametrize(
        ("name", "kwargs", "theirs", "arguments", "rates"),
        [
            ("sgd", {"momentum": 0.9}, "SGD", {"momentum": 0.9}, RATES),
            (
                "sgd",
                {"momentum": 0.9, "nesterov": True},
                "SGD",
                {"momentum": 0.9, "nesterov": True},
                RATES,
            ),
            (  # Optax's momentum holds learning rates: the same while they are
                "rmsprop",
                {"decay": 0.8, "eps": 1e-3, "momentum": 0.9, "eps_in_sqrt": False},
                "RMSprop",
                {"alpha": 0.8, "eps": 1e-3, "momentum": 0.9},
                (0.02,) * 3,
            ),
            ("adam", {"b1": 0.8}, "Adam", {"betas": (0.8, 0.999)}, RATES),  # L2
            ("adamw", {"b1": 0.8}, "AdamW", {"betas": (0.8, 0.999)}, RATES),  # decoupled
        ],
    )
    def test_steps_are_the_same(self, name, kwargs, theirs, arguments, rates):
        torch = pytest.importorskip("torch", reason="compares with PyTorch")
        params = {"kernel": draw(0, 4, 3), "bias": draw(1, 3)}
        gradients = [{"kernel": draw(2 + n, 4, 3), "bias": draw(9 + n, 3)} for n in range(3)]

        training = section(name, kwargs, weight_decay=0.1)
        ours, _ = stepper(training)(params, gradients, rates)

        tensors = {k: torch.nn.Parameter(torch.tensor(v)) for k, v in params.items()}
        groups = [
            {"params": [tensors["kernel"]], "weight_decay": 0.1},
            {"params": [tensors["bias"]], "weight_decay": 0.0},
        ]
        reference = getattr(torch.optim, theirs)(groups, lr=rates[0], **arguments)
        for rate, grads in zip(rates, gradients, strict=True):
            for group in reference.param_groups:
                group["lr"] = rate
            for key, tensor in tensors.items():
                tensor.grad = torch.tensor(grads[key])
            reference.step()
        close(ours, {key: tensor.detach().numpy() for key, tensor in tensors.items()}, 1e-5)


class TestByHand:
    def test_sgd_with_decay_and_momentum(self):
        training = section(weight_decay=0.1)
        params = {"kernel": jnp.array([1.0]), "bias": jnp.array([1.0])}
        grads = {"kernel": jnp.array([2.0]), "bias": jnp.array([2.0])}
        state = optimizer.make_optimizer(training, 0.5).init(params)
        updates, state = optimizer.make_optimizer(training, 0.5).update(grads, state, params)
        assert float(updates["kernel"][0]) == pytest.approx(-0.5 * 2.1)
        assert float(updates["bias"][0]) == pytest.approx(-0.5 * 2.0)
        updates, _ = optimizer.make_optimizer(training, 0.25).update(grads, state, params)
        assert float(updates["kernel"][0]) == pytest.approx(-0.25 * (0.9 * 2.1 + 2.1))

    def test_rmsprop_after_clipping(self):
        training = section("rmsprop", {"eps": 1e-3}, weight_decay=0.0)
        rule = optimizer.clipped(optimizer.make_optimizer(training, 0.1), 1.0)
        params = {"kernel": jnp.array([3.0, 4.0])}
        updates, _ = rule.update(params, rule.init(params), params)
        gradient = np.array([0.6, 0.8])
        expected = -0.1 * gradient / np.sqrt(0.1 * gradient**2 + 1e-3)
        np.testing.assert_allclose(updates["kernel"], expected, rtol=1e-4)

    def test_lion_is_the_sign_of_the_momentum(self):
        training = section("lion", weight_decay=0.0)
        params = {"bias": jnp.array([1.0, 1.0, 1.0])}
        gradients = [{"bias": jnp.array([1.0, -2.0, 0.0])}, {"bias": jnp.array([-0.01, 5.0, 0.0])}]
        params, _ = stepper(training)(params, gradients, (0.5, 0.25))
        # 0.9 * 0.01 * 1 - 0.1 * 0.01 > 0 and 0.9 * 0.01 * -2 + 0.1 * 5 > 0.
        np.testing.assert_allclose(params["bias"], [1 - 0.5 - 0.25, 1 + 0.5 - 0.25, 1.0])

    def test_lamb_scales_by_the_trust_ratio(self):
        training = section("lamb", weight_decay=0.1)
        params = {"kernel": jnp.array([3.0, 4.0])}
        rule = optimizer.make_optimizer(training, 0.5)
        updates, _ = rule.update({"kernel": jnp.array([1.0, -2.0])}, rule.init(params), params)
        direction = np.array([1.0, -1.0]) + 0.1 * np.array([3.0, 4.0])  # Adam's first is a sign
        expected = -0.5 * 5.0 / np.linalg.norm(direction) * direction
        np.testing.assert_allclose(updates["kernel"], expected, rtol=1e-4)

    def test_muon_makes_matrices_orthogonal(self):
        """Newton and Schulz's five steps with Jordan's coefficients, in NumPy; Adam for biases."""
        training = section("muon", weight_decay=0.0)
        gradient = draw(0, 3, 5)
        x = gradient / np.linalg.norm(gradient)
        for _ in range(5):
            square = x @ x.T
            x = 3.4445 * x + (-4.775 * square + 2.0315 * square @ square) @ x
        params = {"kernel": jnp.ones((3, 5)), "bias": jnp.ones(2)}
        rule = optimizer.make_optimizer(training, 0.1)
        grads = {"kernel": gradient, "bias": jnp.array([2.0, -3.0])}
        updates, _ = rule.update(grads, rule.init(params), params)
        np.testing.assert_allclose(updates["kernel"], -0.1 * np.sqrt(5 / 3) * x, rtol=1e-4)
        sign = 0.9 * 0.1 / (1 - 0.9**2) + 1  # times the gradient's: Nesterov's, corrected
        np.testing.assert_allclose(updates["bias"], [-0.1 * sign, 0.1 * sign], rtol=1e-4)

    def test_muon_scales_by_the_shape_with_the_padding(self):
        rule = optimizer.make_optimizer(section("muon", weight_decay=0.0), 0.1)
        narrow = {"kernel": draw(0, 3, 5)}
        padded = {"kernel": np.pad(narrow["kernel"], ((0, 1), (0, 4)))}
        (alone, _), (update, _) = (rule.update(g, rule.init(g), g) for g in (narrow, padded))
        ratio = np.sqrt((9 / 4) / (5 / 3))
        np.testing.assert_allclose(update["kernel"][:3, :5], ratio * alone["kernel"], rtol=1e-4)


class TestDecay:
    PARAMS = {  # noqa: RUF012
        "dense": {"kernel": draw(0, 4, 3), "bias": draw(1, 3)},
        "convolution": {"kernel": draw(2, 3, 3, 2, 4)},
        "norm": {"scale": draw(3, 4), "bias": draw(4, 4)},
    }

    def updates(self, name, weight_decay=0.25, kwargs=None):
        """Of a first step without a gradient, at a learning rate of 0.5."""
        training = section(name, kwargs, weight_decay=weight_decay)
        rule = optimizer.make_optimizer(training, 0.5)
        grads = jax.tree.map(jnp.zeros_like, self.PARAMS)
        return rule.update(grads, rule.init(self.PARAMS), self.PARAMS)[0]

    def shrunk(self, share):
        kernels = optimizer.is_kernel(self.PARAMS)
        return jax.tree.map(lambda p, kernel: -share * p * kernel, self.PARAMS, kernels)

    def test_only_kernels_decay(self):
        assert optimizer.is_kernel(self.PARAMS) == {
            "dense": {"kernel": True, "bias": False},
            "convolution": {"kernel": True},
            "norm": {"scale": False, "bias": False},
        }

    @pytest.mark.parametrize("name", DECOUPLED)
    def test_decoupled_kernels_shrink_by_learning_rate_times_decay(self, name):
        jax.tree.map(np.testing.assert_array_equal, self.updates(name), self.shrunk(0.5 * 0.25))

    def test_the_trust_ratio_of_lamb_and_lars_takes_the_decay_back(self):
        close(self.updates("lamb"), self.shrunk(0.5))
        close(self.updates("lars", kwargs={"trust_coefficient": 0.01}), self.shrunk(0.5 * 0.01))

    @pytest.mark.parametrize("name", ["adam", "novograd", "prodigy", "sign_sgd"])
    def test_otherwise_decay_is_a_part_of_the_gradient(self, name):
        """Which the rule may scale as it likes, but biases have none."""
        updates = self.updates(name)
        moved = jax.tree.map(lambda update: bool(np.any(update != 0)), updates)
        assert moved == optimizer.is_kernel(self.PARAMS)

    @pytest.mark.parametrize("name", [*DECOUPLED, "lamb", "adam"])
    def test_without_decay_nothing_moves_without_a_gradient(self, name):
        """Optax's own defaults, 1e-3 for lion, do not stand in."""
        assert not any(np.any(leaf) for leaf in jax.tree.leaves(self.updates(name, 0.0)))


@pytest.mark.parametrize("name", rules.names())
@pytest.mark.filterwarnings("ignore")  # Optax has deprecated some
def test_every_state_is_the_same_tree_whatever_the_learning_rate(name):
    training = section(name)
    params = {"kernel": jnp.ones((4, 3)), "bias": jnp.ones(3)}
    start = jax.eval_shape(optimizer.make_optimizer(training, 0.4).init, params)

    def step(rate, state):
        return optimizer.make_optimizer(training, rate).update(params, state, params)[1]

    after = jax.eval_shape(step, jax.ShapeDtypeStruct((), jnp.float32), start)
    assert jax.tree.structure(after) == jax.tree.structure(start)
    form = lambda tree: [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree)]  # noqa: E731
    assert form(after) == form(start)


class TestPerBlock:
    LAYERS, CHOICES = 2, 3

    def params(self, seed):
        """Stages of 2 and 1 layers; a group that all of 3 choices have, and one that 2 have."""

        def group(seed, *lead):
            return {
                "expand": {"kernel": draw(seed, *lead, 4, 6)},
                "depthwise": {
                    "kernel": draw(seed + 1, *lead, 3, 3, 6),
                    "scale": draw(seed, *lead, 6),
                },
            }

        stages = [
            {"block": group(seed, n, self.CHOICES), "se": group(seed + 5, n, 2)}
            for n in (self.LAYERS, 1)
        ]
        ends = {"dense": {"kernel": draw(seed, 4, 3), "bias": draw(seed, 3)}}
        return {"stem": ends, "stages": stages, "head": ends}

    @staticmethod
    def on_path(tree, other, choices, change):
        """`other` with `change` of two trees' arrays and a path's index in every group."""

        def of_group(stage, group):
            index = np.arange(len(choices[group][stage])), np.array(choices[group][stage])
            trees = (each["stages"][stage][group] for each in (tree, other))
            return jax.tree.map(lambda a, b: change(a, b, index), *trees)

        stages = [{g: of_group(s, g) for g in groups} for s, groups in enumerate(tree["stages"])]
        return other | {"stages": stages}

    def blocks(self):
        """Every block's stage, group and index."""
        for stage, layers in enumerate((self.LAYERS, 1)):
            for name, choices in (("block", self.CHOICES), ("se", 2)):
                for index in np.ndindex(layers, choices):
                    yield stage, name, index

    @pytest.mark.parametrize("name", MANY)
    def test_is_the_plain_optimizer_on_every_block_by_itself(self, name):
        training = section(name, weight_decay=0.1)
        plain = stepper(training)
        mapped = stepper(training, lambda rule: optimizer.per_block(rule, 2))
        params, gradients = self.params(0), [self.params(n) for n in (10, 20, 30)]
        ours, state = mapped(params, gradients)
        for part in ("stem", "head"):
            alone = plain(params[part], [g[part] for g in gradients])
            close((ours[part], state[part]), alone, 1e-5)
        for stage, group, index in self.blocks():
            block = partial(take, stage=stage, group=group, index=index)
            alone = plain(block(params), [block(g) for g in gradients])
            close((block(ours), block(state)), alone, 1e-5)

    @pytest.mark.parametrize("name", MANY)
    def test_padding_stays_exactly_zero(self, name):
        training = section(name, weight_decay=0.1)

        def pad(tree):
            block = tree["stages"][0]["block"]
            block["expand"]["kernel"][..., 4:] = 0
            block["depthwise"]["kernel"][..., 4:] = 0
            block["depthwise"]["kernel"][..., 0, :, :] = 0  # taps around a smaller kernel
            block["depthwise"]["scale"][..., 4:] = 0
            return tree

        run = stepper(training, lambda rule: optimizer.per_block(rule, 2))
        params, _ = run(pad(self.params(0)), [pad(self.params(n)) for n in (10, 20, 30)])
        block = jax.tree.map(np.array, params["stages"][0]["block"])
        padded = pad({"stages": [{"block": jax.tree.map(np.copy, block)}]})["stages"][0]["block"]
        jax.tree.map(np.testing.assert_array_equal, block, padded)
        assert np.all(block["expand"]["kernel"][..., :4] != 0)

    @pytest.mark.parametrize("name", ["adam", "lamb", "muon"])
    def test_a_path_moves_alone_and_blocks_count_their_own_updates(self, name):
        rule = optimizer.make_optimizer(section(name, weight_decay=0.1), 0.1)
        params = self.params(0)
        start = state = optimizer.per_block(rule, 2).init(params)
        choices = {"block": ([2, 0], [1]), "se": ([0, 1], [1])}  # of each stage's layers

        def gather(tree):
            return self.on_path(tree, tree, choices, lambda all_, _, index: all_[index])

        def scatter(tree, path):
            return self.on_path(
                tree, path, choices, lambda a, b, index: jnp.asarray(a).at[index].set(b)
            )

        @jax.jit
        def step(grads, state, params):
            own = gather(params)
            updates, after = optimizer.per_block(rule, 1).update(grads, gather(state), own)
            return scatter(params, optax.apply_updates(own, updates)), scatter(state, after)

        for seed in (1, 2):
            params, state = step(gather(self.params(seed)), state, params)

        for stage, group, (layer, choice) in self.blocks():
            own, before = (take(tree, stage, group, (layer, choice)) for tree in (state, start))
            counts = {int(leaf) for leaf in jax.tree.leaves(own) if leaf.dtype == jnp.int32}
            if choices[group][stage][layer] == choice:
                assert counts == {2}
            else:
                jax.tree.map(np.testing.assert_array_equal, own, before)
                assert counts == {0}

    def test_a_stand_alone_network_is_updated_as_a_whole(self):
        rule = optimizer.make_optimizer(section("lamb"), 0.1)
        ends = self.params(0)["stem"]
        params = {"stem": ends, "blocks": [ends], "head": ends}
        mapped = optimizer.per_block(rule, 2)
        state = rule.init(params)
        assert jax.tree.structure(mapped.init(params)) == jax.tree.structure(state)
        close(mapped.update(params, state, params), rule.update(params, state, params))

    def test_clipping_is_by_the_norm_of_the_whole_gradient(self):
        rule = optimizer.per_block(optax.sgd(1.0), 2)
        params, grads = self.params(0), self.params(1)
        norm = np.sqrt(sum(np.square(leaf).sum() for leaf in jax.tree.leaves(grads)))
        assert norm > 2.0
        both = optimizer.clipped(rule, 2.0)
        updates, state = jax.jit(both.update)(grads, both.init(params), params)
        close(updates, jax.tree.map(lambda g: -g * (2.0 / norm), grads))
        assert jax.tree.structure(state) == jax.tree.structure(rule.init(params))
        assert optimizer.clipped(rule, 0.0) is rule


class TestByName:
    def test_names_are_those_of_optax_that_can_train_here(self):
        names = rules.names()
        assert {"sgd", "rmsprop", "adamw", "lion", "lamb", "muon", "adafactor", "dog"} <= set(names)
        assert not {"chain", "scale_by_rprop", "cosine_decay_schedule"} & set(names)

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("momo", "'value'"),  # the loss, at every update
            ("lbfgs", "'value', 'grad', and 'value_fn'"),  # line search
            ("sophia", "obj_fn must be provided"),
            ("dpsgd", "it wants the gradients of every image"),
            ("schedule_free", "no attribute 'init'"),  # wants an optimizer
            ("schedule_free_adamw", "its parameters are not those to evaluate by"),
        ],
    )
    def test_what_cannot_train_here_says_why(self, name, reason):
        assert name not in rules.names()
        refused = rules.refuse_name(name)
        assert refused.startswith("it cannot train here (")
        assert reason in refused
        assert refused.endswith(f"; allowed, of Optax: {', '.join(rules.names())}")

    @pytest.mark.parametrize(
        ("name", "kwargs", "message"),
        [
            ("sgd", {"momentum": "x"}, "with kwargs {'momentum': 'x'}, which Optax refuses: "),
            ("muon", {"preconditioning": "none"}, "refuses: Unknown preconditioning none"),
            ("adam", {"mu_dtype": "float3"}, "which Optax refuses: .*float3"),
            ("rmsprop", {"eps": 0.0}, "leave the finite numbers"),  # 0 / 0 in the padding
            ("prodigy", {}, "learning rates .0.0, .*; .*warm-up"),
            ("yogi", {}, "moves weights without a gradient"),
        ],
    )
    def test_arguments_are_tried_before_any_long_work(self, name, kwargs, message):
        with pytest.raises(InputError, match=f"supernet.optimizer is {name} .*{message}") as caught:
            optimizer.check(section(name, kwargs), "supernet", padded=True)
        assert "\n" not in str(caught.value)

    def test_where_nothing_is_padded_weights_may_move_without_a_gradient(self):
        optimizer.check(section("yogi"), "subnet", padded=False)

    @pytest.mark.parametrize("name", MANY)
    def test_the_common_ones_pass(self, name):
        optimizer.check(section(name), "supernet", padded=True)
