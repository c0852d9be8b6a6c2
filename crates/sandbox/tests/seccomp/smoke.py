"""What functions do with the standard library, and with the packages that are most common. Run in a confined process.

Prints a line for each part that it had to leave out; fails with a traceback.
"""

import asyncio
import concurrent.futures
import ctypes
import faulthandler
import importlib
import mmap
import multiprocessing
import os
import platform
import resource
import select
import selectors
import shutil
import signal
import socket
import sqlite3
import ssl
import stat
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import traceback
import urllib.error
import urllib.request
import zipfile


def square(number):
    return number * number


def threads():
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(square, range(100))) == 328350
    event = threading.Event()
    thread = threading.Thread(target=event.set, name="named")
    thread.start()
    assert event.wait(10)
    thread.join()


def programs():
    assert subprocess.run(["echo", "hello"], capture_output=True, check=True).stdout == b"hello\n"
    assert subprocess.run("exit 3", shell=True).returncode == 3
    ended = subprocess.run(["sh", "-c", "pwd"], cwd="/", start_new_session=True, close_fds=True, stdout=subprocess.PIPE)
    assert ended.stdout == b"/\n"
    own = os.getuid()
    if sys.version_info >= (3, 9):
        subprocess.run(["true"], user=own, group=os.getgid(), check=True)
    subprocess.run(["true"], preexec_fn=os.setsid, check=True)
    child = subprocess.Popen(["sleep", "60"])
    child.terminate()
    assert child.wait(10) == -signal.SIGTERM
    pid = os.fork()
    if pid == 0:
        os._exit(7)
    assert os.waitpid(pid, 0)[1] == 7 << 8
    if hasattr(os, "posix_spawn"):
        pid = os.posix_spawn("/bin/true", ["true"], os.environ)
        assert os.waitpid(pid, 0)[1] == 0
    os.nice(0)
    os.sched_setaffinity(0, os.sched_getaffinity(0))


def processes():
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        with context.Pool(2) as pool:
            assert pool.map(square, range(10)) == [square(number) for number in range(10)]
        queue, value, lock = context.Queue(), context.Value("i", 0), context.Lock()
        ours, theirs = context.Pipe()
        with lock:
            ours.send("hello")
            assert theirs.recv() == "hello"
        queue.put(value.value)
        assert queue.get(timeout=10) == 0
    if sys.version_info >= (3, 8):
        from multiprocessing import shared_memory

        block = shared_memory.SharedMemory(create=True, size=1000)
        block.buf[0] = 7
        block.close()
        block.unlink()


async def talk():
    async def answer(reader, writer):
        writer.write(b"> " + await reader.readline())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"hello\n")
    assert await reader.readline() == b"> hello\n"
    writer.close()
    server.close()
    child = await asyncio.create_subprocess_exec("echo", "hello", stdout=asyncio.subprocess.PIPE)
    assert await child.communicate() == (b"hello\n", None)
    loop = asyncio.get_running_loop()
    assert await loop.run_in_executor(None, square, 3) == 9
    await asyncio.sleep(0.001)


def conversation():
    asyncio.run(talk())


def sockets():
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        left, right = socket.socketpair(socket.AF_UNIX, kind)
        left.sendmsg([b"hel", b"lo"])
        assert right.recvmsg(10)[0] == b"hello"
        read, write = os.pipe()
        left.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, read.to_bytes(4, sys.byteorder))])
        assert right.recvmsg(10, 100)[1]
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("127.0.0.1", 0))
    receiver.settimeout(10)
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.sendto(b"hello", receiver.getsockname())
    assert receiver.recvfrom(10)[0] == b"hello"
    assert socket.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)
    socket.if_nameindex()
    try:
        urllib.request.urlopen("http://127.0.0.1:9", timeout=5)
    except urllib.error.URLError as error:
        assert isinstance(error.reason, ConnectionRefusedError), error


def waiting():
    read, write = os.pipe()
    os.write(write, b"x")
    assert select.select([read], [], [], 5)[0] == [read]
    for kind in (selectors.SelectSelector, selectors.PollSelector, selectors.EpollSelector):
        selector = kind()
        selector.register(read, selectors.EVENT_READ)
        assert selector.select(5)
        selector.close()
    seen = []
    signal.signal(signal.SIGALRM, lambda number, frame: seen.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    deadline = time.monotonic() + 10
    while not seen and time.monotonic() < deadline:
        time.sleep(0.01)
    assert seen == [signal.SIGALRM]
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    os.kill(os.getpid(), signal.SIGUSR1)
    assert signal.sigtimedwait([signal.SIGUSR1], 5).si_signo == signal.SIGUSR1
    if hasattr(os, "pidfd_open"):
        descriptor = os.pidfd_open(os.getpid())
        signal.pidfd_send_signal(descriptor, 0)
        os.close(descriptor)
    faulthandler.enable()
    faulthandler.dump_traceback_later(60)
    faulthandler.cancel_dump_traceback_later()


def encryption():
    context = ssl.create_default_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        context.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    except ssl.SSLWantReadError:
        assert outgoing.pending > 100
    assert len(os.urandom(32)) == 32


def files():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "a")
        with open(path, "w+b") as file:
            file.write(bytes(10000))
            os.fsync(file.fileno())
            os.truncate(path, 8192)
            os.posix_fallocate(file.fileno(), 0, 16384)
            with mmap.mmap(file.fileno(), 0) as area:
                area[0:5] = b"hello"
                area.flush()
                area.resize(32768)
            os.lockf(file.fileno(), os.F_LOCK, 0)
        shutil.copy2(path, path + "2")
        try:
            os.setxattr(path, "user.kind", b"test")
        except OSError as error:
            print("left out: extended attributes:", error)
        shutil.copytree(folder, folder + "/copy", ignore=shutil.ignore_patterns("copy"))
        os.symlink(path, path + "3")
        os.link(path, path + "4")
        os.rename(path + "4", path + "5")
        os.chmod(path, 0o600)
        os.chown(path, os.getuid(), os.getgid())
        os.utime(path, (1, 1))
        os.mkfifo(path + "6")
        assert stat.S_ISFIFO(os.stat(path + "6").st_mode)
        with tarfile.open(path + ".tar", "w") as archive:
            archive.add(path + "2")
        with zipfile.ZipFile(path + ".zip", "w") as archive:
            archive.write(path + "2")
        shutil.disk_usage(folder)
        shutil.rmtree(folder + "/copy")
        with tempfile.NamedTemporaryFile(dir=folder), tempfile.TemporaryFile():
            os.sync()
        if hasattr(os, "copy_file_range"):
            with open(path, "rb") as source, open(path + "7", "wb") as target:
                os.copy_file_range(source.fileno(), target.fileno(), 100)
                os.sendfile(target.fileno(), source.fileno(), 0, 100)
        if hasattr(os, "memfd_create"):
            os.close(os.memfd_create("test"))
        database(os.path.join(folder, "db"))


def database(path):
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t (a)")
        connection.executemany("INSERT INTO t VALUES (?)", [(number,) for number in range(1000)])
        connection.commit()
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (1000,)
    connection.close()


def machine():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.getrusage(resource.RUSAGE_CHILDREN)
    for ask in (platform.platform, os.cpu_count, os.getloadavg, os.uname, os.getgroups, sys.stdin.isatty):
        ask()


def refusals():
    """What is refused comes as the error that libraries expect."""
    expect(PermissionError, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
    expect(OSError, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
    expect(PermissionError, lambda: os.mknod("/tmp/device", stat.S_IFCHR | 0o600, os.makedev(1, 3)))
    expect(PermissionError, lambda: os.chroot("/"))
    libc = ctypes.CDLL(None, use_errno=True)
    for call in ("unshare", "setns"):
        assert getattr(libc, call)(0x10000000, 0x20000000) == -1 and ctypes.get_errno() == 1, call
    assert libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) == -1 and ctypes.get_errno() == 1
    assert libc.ptrace(0, 0, 0, 0) == -1 and ctypes.get_errno() == 1


def expect(kind, call):
    try:
        call()
    except kind:
        return
    raise AssertionError("it was allowed")


def have(name):
    try:
        return importlib.import_module(name)
    except ImportError:
        print("left out:", name, "is not installed")


def numbers():
    numpy = have("numpy")
    if numpy:
        matrix = numpy.random.default_rng(1).random((300, 300))
        assert (matrix @ numpy.linalg.inv(matrix)).trace() > 299
        with tempfile.NamedTemporaryFile() as file:
            numpy.memmap(file.name, dtype="float64", mode="w+", shape=(1000,))[:] = 1.0
    pandas = have("pandas")
    if pandas:
        frame = pandas.DataFrame({"a": [1, 2, 1], "b": [1.0, 2.0, 3.0]})
        assert frame.groupby("a").b.sum()[1] == 4.0


def packages():
    uvloop = have("uvloop")
    if uvloop:
        loop = uvloop.new_event_loop()
        loop.run_until_complete(talk())
        loop.close()
    psutil = have("psutil")
    if psutil:
        own = psutil.Process()
        for ask in (psutil.net_if_addrs, psutil.virtual_memory, psutil.cpu_count, own.memory_full_info, own.open_files):
            ask()
    debugpy = have("debugpy")
    if debugpy:
        debugpy.listen(("127.0.0.1", 0))
    grpc = have("grpc")
    if grpc:
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            grpc.channel_ready_future(channel).result(timeout=20)
        server.stop(None)


def main():
    parts = [threads, programs, processes, conversation, sockets, waiting, encryption, files, machine]
    failed = []
    for part in parts + [numbers, packages, refusals]:
        try:
            part()
        except BaseException:
            failed.append(part.__name__)
            traceback.print_exc()
    print("failed:", failed)
    sys.stdout.flush()
    os._exit(1 if failed else 0)


if __name__ == "__main__":
    main()
