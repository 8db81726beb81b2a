"""`declip-rt plans`: lists, shows and removes the plans in the cache."""

from __future__ import annotations

import argparse

from declip_rt.backends.trt.plans import KEY_DIGITS, Plan, Plans


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=list_plans)
    actions = parser.add_subparsers(metavar="ACTION")
    actions.add_parser("list", help="the built plans (default)")
    action = actions.add_parser("show", help="all that one depends on")
    action.add_argument("key", metavar="KEY", help="the start of its key")
    action.set_defaults(command=show)
    action = actions.add_parser("prune", help="remove the plans that were not used for longest")
    action.add_argument("--most", type=float, required=True, metavar="GB", help="what may be left")
    action.set_defaults(command=prune)
    actions.add_parser("clear", help="remove them all").set_defaults(command=clear)


def list_plans(_: argparse.Namespace) -> int:
    plans = list(Plans().all())
    if not plans:
        print("no plans are built; declip-rt build makes one")
    for plan in plans:
        what = f"{plan.model}, {_what(plan)}, {'REFUSED, ' * bool(plan.refused)}built {plan.built}"
        print(f"{plan.key[:KEY_DIGITS]}  {plan.size / 1e6:8.1f} MB  {what}")
    return 0


def show(options: argparse.Namespace) -> int:
    plans = Plans()
    plan = plans.find(options.key)
    print(plans.sidecar(plan.key).read_text())
    return 0


def prune(options: argparse.Namespace) -> int:
    for plan in Plans().prune(int(options.most * 1e9)):
        print(f"removed {plan.key[:KEY_DIGITS]} ({plan.model}, {_what(plan)})")
    return 0


def clear(_: argparse.Namespace) -> int:
    print(f"removed {Plans().clear()} plans")
    return 0


def _what(plan: Plan) -> str:
    origin = plan.origin
    where = f"for {', '.join(origin.targets) or origin.gpu or origin.capability}"
    batches = ", ".join(map(str, origin.recipe.batches))
    return f"{origin.recipe.library} {origin.version}, {origin.recipe.graph}, batches {batches}, {where}"
