"""What counts as the same result."""

import pytest
import torch

from gatelab.bench.equality import UnequalError, check_equal
from gatelab.bench.timing import Contender

RESULTS = {"output": torch.tensor([1.0, -4.0]), "∂w": torch.tensor([[2.0, 0.0]])}


def contender(results, name="B", **options):
    return Contender(name, lambda: results, **options)


def against(changed, **options):
    check_equal([contender(RESULTS, "A"), contender(RESULTS | changed, **options)])


@pytest.mark.parametrize(
    "changed",
    [
        {"output": torch.tensor([1.0, -4.00003])},  # 7.5e-6 of the largest entry
        {"∂w": torch.tensor([[2.0001, 0.0]])},  # 5e-5 of it: gradients may differ by more
    ],
)
def test_rounding_is_no_difference(changed):
    against(changed)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"output": torch.tensor([1.0, -4.0001])}, "2.5e-05"),
        ({"∂w": torch.tensor([[2.001, 0.0]])}, "∂w"),
        ({"∂w": torch.tensor([[2.0, 0.001]])}, "0.0005"),
        ({"output": torch.tensor([1.0, -4.0, 0.0])}, "shapes (2,) and (3,)"),
        ({"output": torch.tensor([1.0, float("nan")])}, "not finite"),
        ({"c": torch.zeros(2)}, "no c to compare with"),
    ],
)
def test_a_difference_is_named(changed, said):
    with pytest.raises(UnequalError) as caught:
        against(changed)
    assert said in str(caught.value)
    assert "A and B" in str(caught.value)


def test_what_is_not_finite_is_never_equal():
    broken = {"output": torch.tensor([float("nan")])}
    with pytest.raises(UnequalError, match="not finite"):
        check_equal([contender(broken, "A"), contender(broken)])


def test_zeros_are_equal_to_zeros_alone():
    zeros = {"output": torch.zeros(2)}
    check_equal([contender(zeros, "A"), contender(zeros)])
    with pytest.raises(UnequalError):
        check_equal([contender(zeros, "A"), contender({"output": torch.full((2,), 1e-7)})])


def test_contenders_that_do_something_else_are_not_compared():
    against({"output": torch.zeros(9)}, alike=False)


def test_a_contender_may_give_fewer_results():
    check_equal([contender(RESULTS, "A"), contender({"output": RESULTS["output"]})])
