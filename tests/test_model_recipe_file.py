import itertools
import math
from dataclasses import fields, replace
from pathlib import Path

import pytest

from export import UserError
from model import recipe_file
from model.conversion_recipe import ConversionRecipe
from model.data import spoken_digits
from model.recipe_file import RecipeFile
from model.recipes import Recipe
from model.synapses import chain

ROWS = {
    "digits": ("digits", (64, 256, 10)),
    "mnist-600": ("mnist", (784, 600, 10)),
    "mnist-128": ("mnist", (784, 128, 10)),
    "mnist-1mbit": ("mnist", None),
    "fashion-mnist-1000": ("fashion-mnist", (784, 1000, 10)),
    "caltech": ("caltech", None),
    "spoken-digits": ("spoken-digits", None),
    "shd": ("shd", None),
    "n-mnist": ("n-mnist", (6936, 200, 10)),
}
CONVERTED = {  # data, sizes, code and steps, most weights
    "mnist-graded": ("mnist", (784, 640, 640, 10), ("graded", 1), 1_000_000),
    "mnist-ternary": ("mnist", (784, 600, 600, 10), ("ternary", 4), 1_000_000),
    "mnist-rate": ("mnist", (784, 600, 600, 10), ("rate", 8), 1_000_000),
    "fashion-mnist-graded": ("fashion-mnist", (784, 1200, 1200, 10), ("graded", 1), 2_500_000),
    "fashion-mnist-ternary": ("fashion-mnist", (784, 600, 600, 10), ("ternary", 4), 1_000_000),
    "n-mnist-counts": ("n-mnist-counts", (2312, 300, 10), ("graded", 16), 1_000_000),
    "fashion-mnist-rate": ("fashion-mnist", (784, 1200, 1200, 10), ("rate", 8), 2_500_000),
}
MAPS = {  # likewise, of networks with convolutions: data, seeds, inputs, code and steps, most weights
    "mnist-conv": ("mnist", (0, 1), (28, 28, 1), ("single", 8), 1_000_000),
    "fashion-mnist-conv": ("fashion-mnist-thermometer", (0, 1), (28, 28, 8), ("single", 4), 2_000_000),
    "mnist-conv-graded": ("mnist", (0, 1, 2), (28, 28, 1), ("graded", 1), 1_000_000),
    "fashion-mnist-conv-graded": ("fashion-mnist", (0, 1), (28, 28, 1), ("graded", 1), 1_000_000),
    "cifar-10-graded": ("cifar-10", (0,), (32, 32, 3), ("graded", 1), 2_000_000),
}


def written(tmp_path, text):
    path = tmp_path / "own.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_one_file_per_row():
    assert {path.stem for path in recipe_file.DIRECTORY.glob("*.toml")} == {*ROWS, *CONVERTED, *MAPS, "mnist-unquantised"}


@pytest.mark.parametrize("name", ROWS)
def test_row(name):
    path = recipe_file.DIRECTORY / f"{name}.toml"
    assert path.read_text().startswith("# ")
    file = recipe_file.read(path)
    dataset, shape = ROWS[name]
    most_silent = 1.0 if name == "spoken-digits" else 5.0
    assert (file.name, file.dataset, file.seeds, file.recipe.max_silent) == (name, dataset, (0, 1, 2), most_silent)
    assert shape is None or file.recipe.hidden == shape[1:-1]


@pytest.mark.parametrize("name", CONVERTED)
def test_row_of_a_converted_network(name):
    path = recipe_file.DIRECTORY / f"{name}.toml"
    assert path.read_text().startswith("# ")
    file = recipe_file.read(path)
    recipe, (dataset, shape, code, most) = file.recipe, CONVERTED[name]
    assert isinstance(recipe, ConversionRecipe)
    assert (file.name, file.dataset, file.seeds) == (name, dataset, (0, 1, 2))
    assert recipe.hidden == shape[1:-1]
    assert (recipe.code, recipe.steps) == code
    assert sum(n * m for n, m in itertools.pairwise(shape)) <= most


@pytest.mark.parametrize("name", MAPS)
def test_row_of_a_convolutional_network(name):
    path = recipe_file.DIRECTORY / f"{name}.toml"
    assert path.read_text().startswith("# ")
    file, (dataset, seeds, inputs, code, most) = recipe_file.read(path), MAPS[name]
    kind = file.recipe.code if isinstance(file.recipe, ConversionRecipe) else "single"
    assert (file.name, file.dataset, file.seeds, (kind, file.recipe.steps)) == (name, dataset, seeds, code)
    assert sum(math.prod(synapses.shape) for synapses in chain(file.recipe.stages(10), inputs)) <= most


def test_one_training_serves_two_codes():
    one, other = (recipe_file.read(recipe_file.DIRECTORY / f"{name}.toml").recipe for name in ("mnist-rate", "mnist-ternary"))
    assert one.training() == other.training()
    assert one.bias == one.spread


def test_recipe_of_its_own_options():
    recipe = ConversionRecipe(hidden=(7,), norm="l1", seed=3)
    assert recipe_file.recipe_of(recipe.as_dict()) == recipe
    recipe = ConversionRecipe(structure="8C3-P2-10")
    assert recipe_file.recipe_of(recipe.as_dict()) == recipe
    assert recipe_file.with_defaults({"method": "conversion", "hidden": [7]})["structure"] is None
    assert recipe_file.recipe_of(Recipe(p_min=4).as_dict()) == Recipe(p_min=4)
    assert recipe.as_dict()["method"] == "conversion"


def test_an_option_of_the_other_method():
    file = recipe_file.read(recipe_file.DIRECTORY / "mnist-graded.toml")
    with pytest.raises(UserError, match=r"^max_silent must not be given: it is no option of this recipe's method$"):
        file.changed(max_silent=3.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('method = "none"', "method must be one of bstdg, conversion, not 'none'"),
        ("method = 3", "method must be one of bstdg, conversion, not 3"),
        ('method = "conversion"\nwindow = 3', "field must be one of hidden, structure, levels, bits, "),
        ('method = "conversion"\nlevels = 0', "levels must be an integer, at least 1 and at most 127, not 0"),
        ('method = "conversion"\nbits = 9', "bits must be an integer, at least 1 and at most 8, not 9"),
        ('method = "conversion"\nsteps = 0', "steps must be an integer, at least 1 and at most 32768, not 0"),
        ('method = "conversion"\ncode = "single"', "code must be one of rate, ternary, graded, not 'single'"),
        ('method = "conversion"\nquantised = false', "integer must be false where quantised is false"),
        ('method = "conversion"\nprecision = "half"', "precision must be one of float32, bfloat16, not 'half'"),
        (
            'method = "conversion"\nprecision = "bfloat16"\nquantised = false\ninteger = false',
            "quantised must be true where precision is 'bfloat16'",
        ),
        ('method = "conversion"\nclip = "none"', "quantised must be false where clip is 'none'"),
        ('method = "conversion"\nstructure = 3', "structure must be a string, not 3"),
        ('method = "conversion"\nstructure = "8C3"', "structure must end with the number of classes, not with 8C3"),
        ('method = "conversion"\nhidden = [256]\nstructure = "8C3-10"', "hidden must be left out where there is a structure, not [256]"),
        ("levels = 3", "field must be one of hidden, structure, steps, "),
        ('method = "conversion"\ndrop_inputs = 1', "drop_inputs must be a share from 0 to below 1, not 1.0"),
    ],
)
def test_mistakes_of_the_method_conversion(tmp_path, text, message):
    path = written(tmp_path, f'dataset = "x.npz"\n{text}')
    with pytest.raises(UserError) as caught:
        recipe_file.read(path)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_one_mbit():
    hidden = recipe_file.read(recipe_file.DIRECTORY / "mnist-1mbit.toml").recipe.hidden
    sizes = (784, *hidden, 10)
    assert sum(n * m for n, m in itertools.pairwise(sizes)) <= 1_000_000


@pytest.mark.parametrize(
    ("dataset", "name"), [("digits", "digits"), ("mnist", "mnist-600"), ("fashion-mnist", "fashion-mnist-1000"), ("shd", "shd")]
)
def test_default_is_a_file(dataset, name):
    assert recipe_file.default(dataset) == recipe_file.read(recipe_file.DIRECTORY / f"{name}.toml")


@pytest.mark.parametrize(
    ("dataset", "name"),
    [("some/where/own.npz", "own"), ("minst", "minst"), ("digits.npz", "digits"), ("digits-without-7.npz", "digits-without-7")],
)
def test_default_without_a_file(dataset, name):
    assert recipe_file.default(dataset) == RecipeFile(name, dataset, (0,), Recipe())


def test_default_without_a_speaker():
    whole = recipe_file.default("spoken-digits")
    part = recipe_file.default("spoken-digits-without-theo")
    assert part == RecipeFile("spoken-digits-without-theo", "spoken-digits-without-theo", whole.seeds, whole.recipe)


def test_changes():
    file = recipe_file.default("digits").changed(hidden=None, epochs=3, seed=7)
    assert (file.recipe.hidden, file.recipe.epochs, file.recipe.seed) == ((256,), 3, 7)


def test_every_choice_can_be_given(tmp_path):
    recipe = Recipe()
    given = {field.name: getattr(recipe, field.name) for field in fields(Recipe) if field.name != "seed"}
    lines = []
    for name, value in given.items():
        value = list(value) if isinstance(value, tuple) else value
        if value is not None:
            lines.append(f"{name} = {str(value).lower() if isinstance(value, bool) else repr(value)}")
    path = written(tmp_path, 'dataset = "x.npz"\nseeds = [4]\n' + "\n".join(lines))
    assert recipe_file.read(path) == RecipeFile("own", "x.npz", (4,), replace(recipe, seed=4))


def test_folds(tmp_path):
    assert recipe_file.read(written(tmp_path, 'dataset = "x.npz"\nfolds = ["y.npz", "z.npz"]')).folds == ("y.npz", "z.npz")


def test_a_speaker_held_out_each_time():
    folds = recipe_file.read(recipe_file.DIRECTORY / "spoken-digits.toml").folds
    assert set(folds) == set(spoken_digits.NAMES) - {spoken_digits.NAME}


def test_an_integer_is_a_number(tmp_path):
    recipe = recipe_file.read(written(tmp_path, 'dataset = "x.npz"\nvalidation = 5000')).recipe
    assert (type(recipe.validation), recipe.validation) == (float, 5000.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hidden = [3", "must be TOML: Unclosed array (at end of document)"),
        (b"hidden = \xff", "must be TOML: 'utf-8' codec can't decode byte 0xff in position 9: invalid start byte"),
        ("x = " + "[" * 5000, "must be TOML: "),
        ("epochs = 3", "dataset must be a string, but is missing"),
        ("dataset = 3", "dataset must be a string, not 3"),
        ("seeds = 3", "seeds must be a list, each of it an integer, not 3"),
        ("seeds = [true]", "seeds must be a list, each of it an integer, not [True]"),
        ("seeds = []", "seeds must be different integers, at least one, not []"),
        ("seeds = [1, 1]", "seeds must be different integers, at least one, not [1, 1]"),
        ("seeds = [0, -1]", "seed must be an integer, at least 0 and at most 4294967295, not -1"),
        ("folds = 3", "folds must be a list, each of it a string, not 3"),
        ('folds = ["x.npz"]', "folds must be different data sets, and others than 'x.npz', not ['x.npz']"),
        ('folds = ["y.npz", "y.npz"]', "folds must be different data sets, and others than 'x.npz', not ['y.npz', 'y.npz']"),
        ("seed = 3", "field must be one of hidden, structure, steps, epochs, "),
        ("epoch = 3", "field must be one of hidden, structure, steps, epochs, "),
        ("epochs = 3.0", "epochs must be an integer, not 3.0"),
        ("epochs = 0", "epochs must be an integer, at least 1, not 0"),
        ("epochs = true", "epochs must be an integer, not True"),
        ("hidden = 600", "hidden must be a list, each of it an integer, not 600"),
        ('hidden = ["600"]', "hidden must be a list, each of it an integer, not ['600']"),
        ('learning_rate = "fast"', "learning_rate must be a number, not 'fast'"),
        ("learning_rate = nan", "learning_rate must be a positive number, not nan"),
        ("window.a = 3", "window must be a number, not {'a': 3}"),
    ],
)
def test_mistakes_name_file_and_field(tmp_path, text, message):
    if isinstance(text, str) and "dataset" not in text and text != "epochs = 3":
        text = 'dataset = "x.npz"\n' + text
    path = written(tmp_path, text)
    with pytest.raises(UserError) as caught:
        recipe_file.read(path)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


def test_unknown_field_is_named(tmp_path):
    with pytest.raises(UserError, match=r"not 'epoch'$"):
        recipe_file.read(written(tmp_path, 'dataset = "x.npz"\nepoch = 3'))


def test_missing_file():
    with pytest.raises(FileNotFoundError):
        recipe_file.read(Path("no.toml"))


@pytest.mark.parametrize(
    ("hint", "value", "expected"),
    [(bool, True, True), (str, "a", "a"), (float | None, 3, 3.0), (tuple[float, ...], [1, 2.5], (1, 2.5)), (str | None, "b", "b")],
)
def test_types_to_come(hint, value, expected):
    assert recipe_file.typed("x", value, hint) == expected


def test_bool_is_no_number():
    with pytest.raises(UserError, match=r"^x must be a number, not True$"):
        recipe_file.typed("x", True, float | None)
    with pytest.raises(UserError, match=r"^x must be true or false, not 1$"):
        recipe_file.typed("x", 1, bool)
