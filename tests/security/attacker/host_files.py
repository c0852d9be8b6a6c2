"""T-001, T-002, T-006, T-007: files and processes of the host."""

import ctypes
import os
import resource
import stat
import tempfile

from trying import LIBC, Attempts, call, read, write

# Of the host, and of no use to a function.
FILES = [
    "/etc/shadow", "/etc/sudoers", "/etc/ssh/ssh_host_ed25519_key", "/root/.bashrc", "/root/.ssh/id_rsa",
    "/var/log/dpkg.log", "/var/lib/dpkg/status", "/boot", "/home", "/var", "/srv", "/opt", "/run", "/sys/kernel",
    "/sys/fs/cgroup", "/proc/kcore", "/proc/kmsg", "/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern",
    "/proc/1/environ", "/proc/1/mem", "/proc/1/maps", "/proc/1/root/etc/shadow", "/proc/1/cwd/x", "/dev/mem",
    "/dev/kmsg", "/dev/vda", "/dev/sda",
]


def host(arguments):
    attempts = Attempts()
    # Whoever is process 1 itself finds nobody else's there.
    files = [path for path in FILES if os.getpid() != 1 or path not in ("/proc/1/environ", "/proc/1/mem", "/proc/1/maps")]
    for path in files + arguments["paths"]:
        attempts.attempt(path, lambda: os.listdir(path) if os.path.isdir(path) else read(path) or _nothing())
    for path in ("/proc/self/root", "/proc/self/cwd", "/proc/thread-self/root"):
        for leads_to in ("etc/shadow", "../../../../../../etc/shadow", "root", "var"):
            attempts.attempt(path + "/" + leads_to, lambda: _listing(os.path.join(path, leads_to)))
    return attempts.answer()


def _nothing():
    # What is covered by /dev/null can be opened.
    raise FileNotFoundError("empty")


def _listing(path):
    found = os.listdir(path) if os.path.isdir(path) else read(path)
    # Folders on the way to what is seen are there, and hold nothing else.
    if path.endswith("root") and not set(found) & {".ssh", ".bashrc", ".profile", ".cargo"}:
        raise FileNotFoundError(path)
    return found


def change(arguments):
    """What is seen can't be changed."""
    attempts = Attempts()
    app = os.path.dirname(os.path.abspath(__file__))
    for path in ("/usr/bin/attack", "/usr/lib/attack", "/etc/attack", "/attack", app + "/attack.py", "/proc/sys/attack",
                 "/dev/attack", *arguments["paths"]):
        attempts.attempt(path, lambda: write(path))
    attempts.attempt("rename the app's file", lambda: os.rename(app + "/host.json", app + "/other.json"))
    attempts.attempt("core_pattern", lambda: write("/proc/sys/kernel/core_pattern"))
    return attempts.answer()


def temporary(_arguments):
    """No attack: where functions may write."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"content")
    folder = tempfile.gettempdir()
    return {"folder": folder, "mode": oct(stat.S_IMODE(os.stat(folder).st_mode))}


def processes(arguments):
    """Other processes: seen, signalled, traced, read."""
    attempts = Attempts()
    own = {str(os.getpid()), "1"}
    seen = [name for name in os.listdir("/proc") if name.isdigit() and name not in own]
    for number in seen:
        attempts.attempt("see " + number, lambda: read("/proc/%s/cmdline" % number))
    own |= set(os.listdir("/proc/self/task"))
    for number in range(1, 400):
        if str(number) in own:
            continue
        attempts.attempt("signal %d" % number, lambda: os.kill(number, 0))
    if os.getpid() != 1:
        attempts.attempt("kill process 1", lambda: _still_there(1))
    for number in arguments.get("servers", []):
        attempts.attempt("signal the server", lambda: os.kill(number, 0))
        attempts.attempt("limit the server", lambda: resource.prlimit(number, resource.RLIMIT_NOFILE))
        attempts.attempt("slow the server down", lambda: os.setpriority(os.PRIO_PROCESS, number, 19))
    names = ("environ", "mem", "maps", "fd", "ns/user", "ns/mnt", "root", "cwd", "exe", "io", "syscall", "stack")
    for name in names if os.getpid() != 1 else ():
        path = "/proc/1/" + name
        attempts.attempt(path, lambda: os.listdir(path) if name == "fd" else os.open(path, os.O_RDONLY))
    # Only who is refused of interest: numbers that nobody has are no news.
    attempts.refused = {name: why for name, why in attempts.refused.items() if why != "ESRCH"}
    return attempts.answer()


def _still_there(number):
    os.kill(number, 9)
    os.kill(number, 15)
    os.kill(number, 0)
    raise PermissionError("signals do nothing there")


def acting(_arguments):
    """T-006: programs that act as somebody else, and device nodes."""
    attempts = Attempts()
    for place, folder in (("/tmp", "/tmp"), ("/dev/shm", "/dev/shm"), ("the folder for outputs", _spool())):
        path = folder + "/acting"
        for mode in (0o4755, 0o2755, 0o6777):
            attempts.attempt("%s open %o" % (place, mode), lambda: _made(path, lambda: os.open(path, os.O_CREAT | os.O_RDWR, mode)))
            attempts.attempt("%s chmod %o" % (place, mode), lambda: _made(path, lambda: _change_mode(path, mode)))
            attempts.attempt("%s mknod %o" % (place, mode), lambda: _made(path, lambda: os.mknod(path, stat.S_IFREG | mode)))
            attempts.attempt("%s unnamed %o" % (place, mode), lambda: _unnamed(folder, mode))
        for kind in (stat.S_IFCHR, stat.S_IFBLK):
            attempts.attempt("%s device" % place, lambda: os.mknod(path, kind | 0o666, os.makedev(1, 1)))
    for program in ("/usr/bin/su", "/usr/bin/passwd", "/usr/bin/mount", "/usr/bin/newgrp", "/usr/bin/chsh"):
        if os.path.exists(program):
            attempts.attempt("act through " + program, lambda: _acts(program))
    attempts.attempt("become root", lambda: call(LIBC.setuid, 0))
    attempts.attempt("become root's group", lambda: call(LIBC.setgid, 0))
    attempts.attempt("join groups", lambda: os.setgroups([0]))
    return attempts.answer()


def _spool():
    from trying import worker_module

    return worker_module("spool").SPOOL.folder


def _made(path, make):
    """Makes it, and says how it is; it must not stay."""
    try:
        os.unlink(path)
    except OSError:
        pass
    made = make()
    if made is not None:
        os.close(made)
    mode = os.stat(path).st_mode
    os.unlink(path)
    if not mode & 0o6000:
        raise PermissionError("without the bits")
    return oct(mode)


def _change_mode(path, mode):
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o755))
    os.chmod(path, mode)


def _unnamed(place, mode):
    descriptor = os.open(place, os.O_TMPFILE | os.O_RDWR, mode)
    found = os.fstat(descriptor).st_mode
    os.close(descriptor)
    if not found & 0o6000:
        raise PermissionError("without the bits")
    return oct(found)


def _acts(program):
    import subprocess

    done = subprocess.run([program, "--version"], capture_output=True, timeout=5, stdin=subprocess.DEVNULL)
    status = read("/proc/self/status").decode()
    if "NoNewPrivs:\t1" in status:
        raise PermissionError("no new privileges: %d" % done.returncode)
    return status


def rights(_arguments):
    """T-005: what this process may do, as the kernel says."""
    attempts = Attempts()
    status = dict(line.split(":", 1) for line in read("/proc/self/status", 16384).decode().splitlines())
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        attempts.attempt(name, lambda: int(status[name], 16) or _nothing())
    attempts.attempt("without seccomp", lambda: status["Seccomp"].strip() != "2" or _nothing())
    attempts.attempt("new privileges", lambda: status["NoNewPrivs"].strip() != "1" or _nothing())
    attempts.attempt("user 0", lambda: os.getuid() == 0 or _nothing())
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    everything = (ctypes.c_uint32 * 6)(*[0xFFFFFFFF] * 6)
    attempts.attempt("take all rights", lambda: call(LIBC.capset, header, everything))
    return attempts.answer()


def descriptors(_arguments):
    """T-003: what was inherited."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink("/proc/self/fd/" + name)
        except OSError:
            # It listed the folder.
            pass
    return {"found": found}
