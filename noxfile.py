"""The version matrix; a part of it: ``nox -s "tests(python='3.12', django='6.0')"``."""

import pathlib

import nox

nox.options.reuse_existing_virtualenvs = True

DJANGO_OF_PYTHON = {
    "3.11": ["5.2"],
    "3.12": ["5.2", "6.0"],
    "3.13": ["5.2", "6.0"],
}


def install(session: nox.Session, django: str) -> None:
    """Install the pinned tools, with Django's release line instead of its pin."""
    pins = pathlib.Path("constraints.txt").read_text().splitlines(keepends=True)
    constraints = pathlib.Path(session.create_tmp()) / "constraints.txt"
    constraints.write_text("".join(pin for pin in pins if not pin.startswith("Django==")))
    session.install("--constraint", str(constraints), "--editable", ".[dev]", f"Django~={django}.0")


@nox.session
@nox.parametrize(
    ("python", "django"),
    [(python, django) for python, lines in DJANGO_OF_PYTHON.items() for django in lines],
)
def tests(session: nox.Session, django: str) -> None:
    """Run the tests; arguments go to pytest."""
    install(session, django)
    session.run("python", "-W", "error", "examples/manage.py", "test", "showcase", "chat", "orders")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Measure the coverage of the tests, children included."""
    install(session, "5.2")
    session.run("coverage", "erase")
    measured = ("-m", "not load and not browser")
    session.run("coverage", "run", "-m", "pytest", *measured, *session.posargs)
    session.run("coverage", "combine")
    session.run("coverage", "report")
