"""Recipe files: TOML, one per row of ``docs/results.md``, among them the default recipe of each data set."""

import dataclasses
import tomllib
import types
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from export import UserError
from export.errors import prefixed
from export.files import check_regular
from model.conversion_recipe import METHOD, ConversionRecipe
from model.recipes import Options, Recipe

DIRECTORY = Path(__file__).parent.parent / "recipes"
METHODS: dict[str, type[Any]] = {"bstdg": Recipe, METHOD: ConversionRecipe}
DEFAULTS = {  # of other data sets, the file that bears their name
    "mnist": "mnist-600",
    "fashion-mnist": "fashion-mnist-1000",
    "cifar-10": "cifar-10-graded",
}


@dataclass(frozen=True)
class RecipeFile:
    """The content of a recipe file.

    Attributes:
        name: the file's, without ``.toml``.
        dataset: what to train on, as `model.datasets.load` takes it.
        seeds: of the runs that reproduce the row, at least one; ``recipe`` has the first.
        recipe: all other choices.
        folds: other splits of the data, on each of which a network is trained too, once; it is reported, but not exported.
    """

    name: str
    dataset: str
    seeds: tuple[int, ...]
    recipe: Options
    folds: tuple[str, ...] = ()

    def changed(self, **changes: Any) -> "RecipeFile":
        """A copy with other options; None stands for no change.

        Raises:
            UserError: an option is not one of the recipe's method, or a value is out of range.
        """
        return replace(self, recipe=self.recipe.changed(**{name: value for name, value in changes.items() if value is not None}))


def read(path: str | Path) -> RecipeFile:
    """Read a recipe file.

    Raises:
        UserError: it is not TOML, or a field is unknown, missing, of another type or out of range.
        OSError: the file cannot be read.
    """
    path = Path(path)
    fields = read_toml(path)
    with prefixed(path):
        dataset = typed("dataset", fields.pop("dataset", None), str)
        seeds = seeds_of(fields.pop("seeds", [0]))
        folds = typed("folds", fields.pop("folds", []), tuple[str, ...])
        if len({*folds, dataset}) < len(folds) + 1:
            raise UserError(f"folds must be different data sets, and others than {dataset!r}, not {list(folds)}")
        method = method_of(fields.pop("method", "bstdg"))
        recipe = method(**choices(fields, method), seed=seeds[0])
        for seed in seeds:
            recipe.changed(seed=seed)  # in range
    return RecipeFile(path.stem, dataset, seeds, recipe, folds)


def default(dataset: str) -> RecipeFile:
    """The default recipe of a data set: the file of its name or, without one, `Recipe`'s defaults."""
    whole = dataset.partition("-without-")[0]  # spoken-digits-without-theo: trained as spoken-digits
    path = DIRECTORY / f"{DEFAULTS.get(whole, whole)}.toml"
    if dataset.endswith(".npz") or not path.is_file():
        return RecipeFile(Path(dataset).stem, dataset, (0,), Recipe())
    file = read(path)
    return file if dataset == whole else replace(file, name=dataset, dataset=dataset, folds=())


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file.

    Raises:
        UserError: it is no file, or not TOML.
        OSError: the file cannot be read.
    """
    check_regular(path)
    data = path.read_bytes()
    try:
        return tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: must be TOML: {error}") from None


def seeds_of(value: Any) -> tuple[int, ...]:
    """A value of TOML as seeds.

    Raises:
        UserError: it is not a list of different integers.
    """
    seeds = typed("seeds", value, tuple[int, ...])
    if not seeds or len(set(seeds)) < len(seeds):
        raise UserError(f"seeds must be different integers, at least one, not {list(seeds)}")
    return seeds


def method_of(name: Any) -> type[Any]:
    """The class of a method's recipes.

    Raises:
        UserError: there is no such method.
    """
    if not isinstance(name, str) or name not in METHODS:
        raise UserError(f"method must be one of {', '.join(METHODS)}, not {name!r:.60}")
    return METHODS[name]


def choices(fields: dict[str, Any], method: type[Any]) -> dict[str, Any]:
    """The values of a TOML table as arguments of a method's recipe, without ``seed``.

    Raises:
        UserError: a field is unknown, or of another type.
    """
    types_of = get_type_hints(method)
    hints = {field.name: types_of[field.name] for field in dataclasses.fields(method) if field.name != "seed"}
    if unknown := sorted(set(fields) - set(hints)):
        raise UserError(f"field must be one of {', '.join(hints)}, not {unknown[0]!r:.60}")
    return {name: typed(name, value, hints[name]) for name, value in fields.items()}


def with_defaults(options: dict[str, Any]) -> dict[str, Any]:
    """What a recipe's ``as_dict`` gave, by the code of then: options that are newer are at their defaults.

    Raises:
        UserError: the method is unknown.
    """
    defaults: dict[str, Any] = method_of(options.get("method", "bstdg"))().as_dict()
    return defaults | options


def recipe_of(options: dict[str, Any]) -> Options:
    """The recipe out of what its ``as_dict`` gave.

    Raises:
        UserError: an option is unknown, or of another type, or out of range.
    """
    options = dict(options)
    method, seed = method_of(options.pop("method", "bstdg")), typed("seed", options.pop("seed", None), int)
    recipe: Options = method(**choices({name: value for name, value in options.items() if value is not None}, method), seed=seed)
    return recipe


_KINDS: dict[Any, tuple[str, Callable[[Any], bool]]] = {
    bool: ("true or false", lambda value: isinstance(value, bool)),
    int: ("an integer", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    float: ("a number", lambda value: isinstance(value, int | float) and not isinstance(value, bool)),
    str: ("a string", lambda value: isinstance(value, str)),
    dict: ("a table", lambda value: isinstance(value, dict)),
}


def typed(name: str, value: Any, hint: Any) -> Any:
    """A TOML value converted to a field's type: a simple type, ``tuple[X, ...]`` of one, or ``X | None``.

    Raises:
        UserError: it is of another type.
    """
    if get_origin(hint) in (Union, types.UnionType):  # TOML has no None: a field that may be None is left out then
        (hint,) = (part for part in get_args(hint) if part is not types.NoneType)
    if get_origin(hint) is tuple:
        kind, fits = _KINDS[get_args(hint)[0]]
        if not isinstance(value, list) or not all(map(fits, value)):
            raise UserError(f"{name} must be a list, each of it {kind}, not {value!r:.60}")
        return tuple(value)
    kind, fits = _KINDS[hint]
    if not fits(value):
        raise UserError(f"{name} must be {kind}, but is missing" if value is None else f"{name} must be {kind}, not {value!r:.60}")
    return hint(value)
