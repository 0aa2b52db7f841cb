"""Each example, run as the README says; and the README's own program."""

import re

import pytest
from e2e.support import TOP

SAID = {
    "01_hello.py": ("computed in a container: 49", "caught here by its own type: TooLarge('10000 is more than I can do')"),
    "02_arguments.py": ("2  to", "1  not"),
    "03_generator.py": ("5 … 4 … 3 … 2 … 1 … lift-off",),
    "04_retries.py": ("attempt 3: worked", "timed out: the function ran longer than its timeout of 1 s", "no result yet"),
}


def test_each_example_is_run_here():
    assert sorted(SAID) == sorted(path.name for path in (TOP / "examples").glob("*.py"))


@pytest.mark.parametrize("name", sorted(SAID))
def test_an_example_says_what_it_should(ingle, name):
    said = ingle.run("run", str(TOP / "examples" / name)).ok().stdout
    for text in SAID[name]:
        assert text in said


def test_the_readmes_program_runs(ingle, tmp_path):
    program = tmp_path / "hello.py"
    program.write_text(re.findall(r"```python\n(.*?)```", (TOP / "README.md").read_text(), re.DOTALL)[0])
    said = ingle.run("run", str(program), "--count", "1000").ok().stdout
    assert said.splitlines().count("49") == 2 and str(sum(x * x for x in range(1000))) in said
