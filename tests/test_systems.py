"""Every module can be imported where a system lacks what Linux has.

No other system is here. So all is imported once, which brings the libraries; then our modules are imported again, in a
process that says it is another system and has lost what that one does not have.
"""

import subprocess
import sys
from importlib.util import find_spec

import pytest

IMPORTED_AGAIN = """
import importlib, os, pkgutil, signal, subprocess, sys, types

LINUX_ALONE = {os: ["sched_getaffinity", "sched_setaffinity", "memfd_create"]}
POSIX_ALONE = {
    os: ["fork", "forkpty", "register_at_fork", "killpg", "setsid", "getpgid", "geteuid", "getuid", "nice", "uname",
         "mkfifo", "O_NONBLOCK", "O_DIRECTORY", "sysconf"],
    signal: ["SIGHUP", "SIGKILL", "SIGALRM", "SIGUSR1", "SIGUSR2", "SIGCHLD", "pthread_sigmask", "alarm"],
}
POSIX_MODULES = ["fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog"]


def import_all():
    for package in ("motrix_gym", "motrix_train"):
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
            if not module.name.endswith(".__main__"):
                importlib.import_module(module.name)


def forget_ours():
    for name in [name for name in sys.modules if name.partition(".")[0] in ("motrix_gym", "motrix_train")]:
        del sys.modules[name]


def remove(names_of):
    for module, names in names_of.items():
        for name in names:
            vars(module).pop(name, None)


import_all()
remove(LINUX_ALONE)
for system in ("darwin", "win32"):
    forget_ours()
    sys.platform = system
    if system == "win32":
        remove(POSIX_ALONE)
        sys.modules.update(dict.fromkeys(POSIX_MODULES))
        sys.modules["msvcrt"] = types.ModuleType("msvcrt")
        subprocess.CREATE_NEW_PROCESS_GROUP = 512
    import_all()
    from motrix_train import operating_system
    operating_system.give_way()
    print(system, len(operating_system.usable_cpus()) == os.cpu_count(), operating_system.has_display())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has timer slack")
def test_a_process_that_gives_way_is_nice_and_wakes_up_less_often():
    asked = "from motrix_train import operating_system as o; o.give_way(); import os; print(os.nice(0)); "
    asked += "print(open('/proc/self/timerslack_ns').read())"
    told = subprocess.check_output([sys.executable, "-c", asked], text=True).split()
    assert [int(number) for number in told] == [19, 10_000_000]


@pytest.mark.skipif(not (find_spec("torch") and find_spec("jax")), reason="Torch or JAX is missing")
def test_nothing_that_linux_alone_has_is_needed_to_import():
    done = subprocess.run([sys.executable, "-c", IMPORTED_AGAIN], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["darwin True True", "win32 True True"]
