"""A Debian or Ubuntu root with Python, made from the machine's own package sources by mmdebstrap.

No archive's address is written here: the machine's apt sources say where packages come from, which keys sign them and
how to fetch them; only the suite is exchanged for the one that has the wanted Python.
"""

import shlex
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

#: Which suite has which Python, by distribution.
SUITES = {
    "debian": {"3.11": "bookworm", "3.13": "trixie"},
    "ubuntu": {"3.10": "jammy", "3.12": "noble", "3.13": "questing", "3.14": "resolute"},
}
#: What official images of Python have beyond an interpreter: certificates, names of protocols, time zones.
PACKAGES = ("python3", "ca-certificates", "netbase", "tzdata")
#: Manuals and translations have no readers in a container.
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/lintian/*")
OS_RELEASE = Path("/etc/os-release")
APT_DIR = Path("/etc/apt")
#: Which of the machine's apt settings concern fetching: expiry of archives (mirrors of the past), proxies, patience.
_FETCH_SETTINGS = ("Acquire::Check-", "Acquire::http", "Acquire::https", "Acquire::Retries", "Acquire::ForceIPv")
APT_CONFIG_S_MAX = 20.0


@dataclass(frozen=True, slots=True)
class Source:
    """One archive of the machine."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""  #: path of a keyring; "": the system's trusted keys
    options: tuple[tuple[str, str], ...] = ()  #: in the words of one-line sources, such as ("trusted", "yes")


def os_release(text: str | None = None) -> tuple[str, str]:
    """The distribution ("debian", "ubuntu", or what ID_LIKE says first) and the code name of its release."""
    text = OS_RELEASE.read_text() if text is None else text
    values = {}
    for line in text.splitlines():
        name, separator, value = line.partition("=")
        if separator:
            values[name] = "".join(shlex.split(value)[:1])
    known = [values.get("ID", ""), *values.get("ID_LIKE", "").split()]
    distribution = next((name for name in known if name in SUITES), known[0])
    codename = values.get("UBUNTU_CODENAME" if distribution == "ubuntu" else "DEBIAN_CODENAME")
    return distribution, codename or values.get("VERSION_CODENAME", "")


def suite_for(distribution: str, python: str) -> str | None:
    """The suite whose `python3` is of that minor version."""
    return SUITES.get(distribution, {}).get(python)


def archives(distribution_codename: str, directory: Path = APT_DIR) -> list[Source]:
    """The machine's sources that carry its own release: its main archive, updates and security."""
    found: list[Source] = []
    for path in [directory / "sources.list", *sorted((directory / "sources.list.d").glob("*"))]:
        if path.suffix == ".list" and path.is_file():
            found += parse_lines(path.read_text(errors="replace"))
        elif path.suffix == ".sources" and path.is_file():
            found += parse_deb822(path.read_text(errors="replace"))
    fitting = []
    for source in found:
        suites = tuple(s for s in source.suites if s.split("-")[0].split("/")[0] == distribution_codename)
        if suites and "main" in source.components:
            fitting.append(Source(source.uris, suites, ("main",), source.signed_by, source.options))
    return fitting


def parse_lines(text: str) -> list[Source]:
    """sources.list(5), the one-line style: `deb [options] uri suite component …`."""
    found = []
    for line in text.splitlines():
        line = line.partition("#")[0].strip()
        if not line.startswith("deb "):
            continue
        rest, options = line[4:].strip(), {}
        if rest.startswith("["):
            inside, _, rest = rest[1:].partition("]")
            options = dict(word.partition("=")[::2] for word in inside.split())
        words = rest.split()
        if len(words) >= 3:
            signed_by = options.pop("signed-by", "")
            options.pop("arch", None)
            found.append(Source((words[0],), (words[1],), tuple(words[2:]), signed_by, tuple(options.items())))
    return found


def parse_deb822(text: str) -> list[Source]:
    """sources.list(5), the deb822 style: paragraphs of `Field: value`."""
    found = []
    for paragraph in text.split("\n\n"):
        fields: dict[str, str] = {}
        name = ""
        for line in paragraph.splitlines():
            if line.startswith("#"):
                continue
            if line[:1] in (" ", "\t"):
                fields[name] = f"{fields.get(name, '')} {line.strip()}"
            elif ":" in line:
                name, _, value = line.partition(":")
                name = name.strip().lower()
                fields[name] = value.strip()
        wanted = "deb" in fields.get("types", "deb").split() and fields.get("enabled", "yes").lower() != "no"
        if not wanted or not fields.get("uris"):
            continue
        signed_by = fields.get("signed-by", "")
        found.append(
            Source(
                tuple(fields["uris"].split()),
                tuple(fields.get("suites", "").split()),
                tuple(fields.get("components", "").split()),
                signed_by if signed_by.startswith("/") else "",
                (("trusted", "yes"),) if fields.get("trusted", "no").lower() == "yes" else (),
            )
        )
    return found


def source_lines(sources: Iterable[Source], codename: str, suite: str) -> list[str]:
    """One-line sources of another suite of the same archives. Only the main archive is asked of a suite that is not the
    machine's own: whether it has updates or security archives under the same address is not known."""
    lines = []
    for source in sources:
        for uri in source.uris:
            for name in source.suites:
                if suite != codename and name != codename:
                    continue
                options = [*source.options, *([("signed-by", source.signed_by)] if source.signed_by else [])]
                inside = f"[{' '.join(f'{key}={value}' for key, value in options)}] " if options else ""
                lines.append(f"deb {inside}{uri} {name.replace(codename, suite, 1)} {' '.join(source.components)}")
    return lines


def fetch_settings(dump: str | None = None) -> list[str]:
    """The machine's apt settings that concern fetching, in the words of apt.conf(5)."""
    if dump is None:
        argv = ["apt-config", "dump", "--no-empty", "--format", '%F "%v";%n']
        try:
            dump = subprocess.run(argv, capture_output=True, text=True, timeout=APT_CONFIG_S_MAX).stdout
        except (OSError, subprocess.SubprocessError):
            dump = ""
    return [line for line in dump.splitlines() if line.startswith(_FETCH_SETTINGS) and not line.endswith(' "";')]


def command(suite: str, target: Path, lines: Iterable[str], settings: Iterable[str]) -> list[str]:
    """The mmdebstrap that makes the root; in namespaces of its own, so that it leaves no mount and no process behind."""
    options = [f"--include={','.join(PACKAGES)}", *(f"--aptopt={setting}" for setting in settings)]
    options += [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
    options += ["--dpkgopt=path-include=/usr/share/doc/*/copyright"]
    # So that `python` is there too, as in official images of Python.
    options += ['--customize-hook=ln -sf python3 "$1/usr/bin/python"']
    isolated = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]
    debootstrap = ["mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory", *options]
    return [*isolated, *debootstrap, suite, str(target), *lines]
