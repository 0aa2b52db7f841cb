"""What every kind of test shares: root tests are skipped where they cannot run; fixtures know whether their test failed."""

import os
import shutil

import pytest

NEED_ROOT = ("/tests/e2e/", "/tests/chaos/")


def pytest_collection_modifyitems(items):
    why = None
    if os.geteuid() != 0:
        why = "real containers need root"
    elif not (shutil.which("crun") or shutil.which("runc")):
        why = "no OCI runtime here: run `ingle setup`"
    for item in items:
        if any(folder in str(item.path) for folder in NEED_ROOT):
            item.add_marker(pytest.mark.root)
            if why:
                item.add_marker(pytest.mark.skip(reason=why))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call" and report.failed:
        item.failed = True
    return report
