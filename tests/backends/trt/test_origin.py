"""A plan that travels has an origin without what it does not depend on, so that others find it."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any, cast

import pytest

from declip_rt import Bundle
from declip_rt.backends.cuda.context import Context
from declip_rt.backends.cuda.devices import Gpu
from declip_rt.backends.trt.origin import Origin
from declip_rt.backends.trt.recipe import Recipe

L4, RTX_4090, A10 = (("L4", "8.9"), ("RTX 4090", "8.9"), ("A10", "8.6"))


@pytest.fixture
def origin(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The origin of a recipe's plan on a GPU with a driver."""
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__="11.4"))

    def of(gpu: tuple[str, str] = L4, driver: str = "580", **recipe: Any) -> tuple[Origin, str]:
        monkeypatch.setattr("declip_rt.backends.cuda.devices.list_devices", lambda: [Gpu(0, *gpu, driver)])
        context = cast(Context, SimpleNamespace(name=gpu[0], capability=gpu[1], target="sm89"))
        made = Origin.of(bundle, Recipe(**recipe), context=context)
        return made, made.place(context)

    return of


@pytest.mark.parametrize(
    ("recipe", "fits", "fits_not"),
    [
        ({}, [], [(L4, "590"), (RTX_4090, "580"), (A10, "580")]),
        ({"stripped": True}, [], [(L4, "590"), (RTX_4090, "580"), (A10, "580")]),
        ({"hardware_compatible": "same_capability"}, [(L4, "590"), (RTX_4090, "580")], [(A10, "580")]),
        ({"hardware_compatible": "ampere_plus"}, [(L4, "590"), (RTX_4090, "580"), (A10, "580")], []),
        ({"version_compatible": True}, [(L4, "590")], [(RTX_4090, "580"), (A10, "580")]),
    ],
)
def test_it_names_what_the_plan_fits(recipe: dict[str, Any], fits: list[Any], fits_not: list[Any], origin: Any) -> None:
    here, _ = origin(**recipe)
    assert all(origin(*place, **recipe)[0].key == here.key for place in fits)
    assert all(origin(*place, **recipe)[0].key != here.key for place in fits_not)


def test_a_proof_holds_for_one_gpu_driver_and_version(origin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    travels = {"hardware_compatible": "ampere_plus"}
    places = {origin(gpu, driver, **travels)[1] for gpu in (L4, A10) for driver in ("580", "590")}
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__="11.5"))
    places.add(origin(**travels)[1])
    assert len(places) == 5
    assert origin()[1] == "", "a plan that stays has all that in its key"
