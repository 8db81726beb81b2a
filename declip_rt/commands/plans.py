"""`declip-rt plans`: lists, shows, exports, imports and removes the plans in the cache."""

from __future__ import annotations

import argparse
from pathlib import Path

from declip_rt.backends.trt.archive import read_archive, write_archive
from declip_rt.backends.trt.plans import KEY_DIGITS, Plan, Plans
from declip_rt.errors import ConfigError

IMPORT = (
    "Take plans into the cache that `declip-rt plans export` has written. A plan is a program for your GPU: import "
    "those that you built, or that come from people you trust. Its hash tells damage, and not who made it. A plan that "
    "is known already stays as it is. An imported one is compared with the reference when it is first used."
)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=list_plans)
    actions = parser.add_subparsers(metavar="ACTION")
    actions.add_parser("list", help="the built plans (default)")
    action = actions.add_parser("show", help="all that one depends on")
    action.add_argument("key", metavar="KEY", help="the start of its key")
    action.set_defaults(command=show)
    action = actions.add_parser("export", help="write plans to a file, for machines alike")
    action.add_argument("keys", nargs="*", metavar="KEY", help="the start of a plan's key")
    action.add_argument("--all", action="store_true", help="all plans but those that were refused")
    action.add_argument("--out", type=Path, required=True, metavar="FILE", help="such as l4.declip-plans")
    action.set_defaults(command=export)
    action = actions.add_parser("import", help="take plans from such files, of people you trust", description=IMPORT)
    action.add_argument("files", nargs="+", type=Path, metavar="FILE")
    action.set_defaults(command=take)
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


def export(options: argparse.Namespace) -> int:
    plans = Plans()
    if options.all == bool(options.keys):
        raise ConfigError("name plans by the start of their keys, or take all by --all; declip-rt plans lists them")
    chosen = [plan for plan in plans.all() if not plan.refused] if options.all else map(plans.find, options.keys)
    found = list({plan.key: plan for plan in chosen}.values())
    if not found:
        raise ConfigError("there are no plans to export; declip-rt build makes one")
    write_archive(options.out, plans, found)
    for plan in found:
        print(f"exported {plan.key[:KEY_DIGITS]} ({plan.model}, {_what(plan)})")
    return 0


def take(options: argparse.Namespace) -> int:
    plans = Plans()
    for file in options.files:
        for plan, data in read_archive(file):
            did = "imported" if plans.add(plan, data) else "left as it is, as its key is known already:"
            print(f"{did} {plan.key[:KEY_DIGITS]} ({plan.model}, {_what(plan)})")
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
    where = f"for {', '.join(origin.targets) or origin.gpu or f'compute capability {origin.capability}'}"
    version = origin.version + " and newer" * origin.recipe.version_compatible
    batches = ", ".join(map(str, origin.recipe.batches)) + ", without weights" * origin.recipe.stripped
    return f"{origin.recipe.library} {version}, {origin.recipe.graph}, batches {batches}, {where}"
