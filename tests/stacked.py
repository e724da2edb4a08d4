"""What stacks hold, by choice."""

from scarlet_jax.space import Choice
from scarlet_jax.supernet import Plan


def by_choice(plan: Plan, stage: int, arrays: dict, kind: str) -> dict[Choice, object]:
    """The blocks of a stage's choices, `[layers, n]`, slices of its stack."""
    (stack,) = (stack for stack in plan.stages[stage].stacks if stack.kind == kind)
    return {
        choice: arrays[kind][:, start : start + size]
        for choice, start, size in zip(plan.space.choices, stack.starts, stack.sizes, strict=True)
    }
