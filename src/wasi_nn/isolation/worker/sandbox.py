"""The sandbox of a worker process: it can read its model and its libraries, compute, and do nothing else.

`confine` gives up all other rights for good, before the process imports an ML runtime or starts a second thread:

    namespaces    no network but a loopback device of its own, and a scratch folder in memory
    Landlock      no file but those that are listed, and these only for reading
    seccomp       no system call but those that computing needs: no process, no program, no connection, no signal
    rlimits       bounded memory, addresses, stack, threads and files; no core dump

Landlock and seccomp are required. Namespaces are used where the kernel lets every user have them. Without them there is
no scratch folder and no socket, so that backends that need one of those can't be isolated.

Nothing here may import numpy, which starts threads.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import resource
import socket
import struct
import sys
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from wasi_nn.process.resource_limits import limit

LEAST_LANDLOCK = 3  # below it, files can be cut short
_MAX_FILES = 8192  # an execution context has four: else files run out before threads, whose number is a setting
_MAX_STACK = 64 * 2**20  # of the main thread
_ADDRESSES = 128 * 2**30  # beyond the memory that it may have: what runtimes reserve, and libraries
_LARGEST = 2**62  # an rlimit
_LEAST_INODES, _BYTES_AN_INODE = 1024, 2**16  # of the scratch folder; one takes a kilobyte of the kernel's memory
_FIRST_USER = 0x60000000  # of those that no one has, one for each process

# Files that libraries read to learn about the machine. None of them is secret.
_SYSTEM = (
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys/kernel/ngroups_max",
    "/proc/sys/kernel/numa_balancing",
    "/proc/sys/kernel/osrelease",
    "/proc/sys/kernel/rtsig-max",
    "/proc/sys/vm/overcommit_memory",
    "/sys/devices/system",
    "/sys/kernel/mm/transparent_hugepage",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
)
_CGROUPS = "/sys/fs/cgroup"
_CGROUP_FILES = (
    *("cgroup.controllers", "cpu.max", "memory.max"),
    *("cpu.cfs_period_us", "cpu.cfs_quota_us", "memory.limit_in_bytes", "memory.usage_in_bytes"),
)
# Only for reading: the kernel counts shared memory of /dev/zero as no process's.
_DEVICES = ("/dev/zero", "/dev/random", "/dev/urandom")
READABLE = (*_SYSTEM, *_DEVICES, "/dev/null", _CGROUPS)  # the system's files; docs/explanation/isolation.md has a list

_CALLS = (
    "brk mmap2 munmap mprotect madvise mlock mlock2 munlock msync mincore membarrier get_mempolicy",
    "pkey_alloc pkey_free pkey_mprotect read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2",
    "lseek _llseek dup fstat fstat64 newfstatat fstatat64 stat stat64 lstat lstat64 statx access faccessat",
    "faccessat2 open openat getdents getdents64 getcwd readlink readlinkat statfs fstatfs statfs64 fstatfs64",
    "fadvise64 readahead sendfile copy_file_range ftruncate fallocate fsync fdatasync mkdir mkdirat unlink",
    "unlinkat rmdir rename renameat renameat2 umask poll ppoll select pselect6 epoll_create epoll_create1",
    "epoll_ctl epoll_wait epoll_pwait epoll_pwait2 eventfd eventfd2 pipe pipe2 futex futex_waitv futex_time64",
    "set_robust_list get_robust_list rseq set_tid_address gettid getpid",
    "getppid sched_yield sched_getaffinity sched_getscheduler sched_getparam sched_get_priority_max",
    "sched_get_priority_min getpriority getcpu exit exit_group restart_syscall rt_sigaction rt_sigprocmask",
    "rt_sigreturn rt_sigtimedwait rt_sigpending sigaltstack clock_gettime clock_getres clock_nanosleep nanosleep",
    "gettimeofday time times getrusage timerfd_create timerfd_settime timerfd_gettime uname sysinfo getuid",
    "geteuid getgid getegid getresuid getresgid getgroups getpgrp getpgid getsid getrandom getrlimit arch_prctl",
    "sendmsg recvmsg sendto recvfrom shutdown getsockopt getsockname getpeername setsockopt",
)
_SOCKET_CALLS = ("bind", "listen", "accept", "accept4")

_CLONE_NEWNS, _CLONE_NEWIPC, _CLONE_NEWUSER, _CLONE_NEWNET = 0x20000, 0x08000000, 0x10000000, 0x40000000
NAMESPACES = _CLONE_NEWUSER | _CLONE_NEWNS | _CLONE_NEWNET | _CLONE_NEWIPC  # those that a worker enters
_CLONE_THREAD = 0x10000
_MAP_SHARED, _MAP_ANONYMOUS, _MAP_GROWSDOWN = 0x01, 0x20, 0x0100
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REC, _MS_PRIVATE = 2, 4, 8, 0x4000, 0x40000
_PR_SET_NAME, _PR_GET_NAME, _PR_SET_VMA = 15, 16, 0x53564D41
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_FIONREAD, _FIONBIO, _FIOCLEX, _TCGETS, _TIOCGWINSZ = 0x541B, 0x5421, 0x5451, 0x5401, 0x5413
_CAPABILITY_VERSION, _CAP_DAC_READ_SEARCH, _CAP_SETPCAP = 0x20080522, 1 << 2, 1 << 8
_PR_SET_SECUREBITS, _NO_SETUID_FIXUP = 28, 1 << 2

# The mount point of the scratch folder, in the worker's own namespace: the first of these that hides nothing needed.
_PLACES = ("/dev/shm", "/mnt", "/media", "/srv", "/opt", "/tmp", "/var/tmp")


@cache
def unavailable() -> str:
    """Why graphs can't be isolated on this platform; empty if they can."""
    if sys.platform != "linux":
        return f"isolation needs Linux, and this is {sys.platform}"
    try:
        from landlock.plumbing import landlock_abi_version

        version = landlock_abi_version()
    except Exception as error:
        return f"isolation needs Landlock, and the kernel has none ({error})"
    if version < LEAST_LANDLOCK:
        return f"isolation needs Landlock of ABI {LEAST_LANDLOCK} (Linux 6.2), and the kernel has ABI {version}"
    try:
        import pyseccomp  # noqa: F401
    except Exception as error:
        return f"isolation needs the library libseccomp.so.2 ({error})"
    return ""


def library_folders() -> list[str]:
    """The folders of Python's own modules and of those that are installed, and of this package."""
    import sysconfig

    keys = ("stdlib", "platstdlib", "purelib", "platlib")
    found = {path for key in keys if (path := sysconfig.get_paths().get(key))}
    base = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix}
    found |= {path for key in keys if (path := sysconfig.get_paths(vars=base).get(key))}
    found.add(str(Path(__file__).parents[2]))
    prefixes = tuple(f"{prefix}{os.sep}" for prefix in (sys.prefix, sys.base_prefix))
    found |= {
        path for path in sys.path if path.startswith(prefixes) or "site-packages" in path or "dist-packages" in path
    }
    return sorted(path for path in found if os.path.isdir(path))


def confine(readable: Iterable[str], memory: int, model: int, threads: int, *, sockets: bool, lifeline: int) -> str:
    """Confine this process.

    readable    the files and folders that it may read, folders with all that is in them
    memory      bytes of memory of its own
    model       bytes of its model, which it may map besides
    threads     the most threads, where the kernel counts them for this process alone
    sockets     whether it may listen on its own loopback device
    lifeline    a descriptor that it can't close, nor keep from sending its signal; it gets another number

    Gives the path of the scratch folder, or an empty text without namespaces. Raises `OSError` where the kernel refuses
    what is required.
    """
    if len(os.listdir("/proc/self/task")) != 1:
        raise OSError(errno.EBUSY, "the process has threads already, which the sandbox can't confine")
    import landlock  # noqa: F401  while their files can be read
    import pyseccomp  # noqa: F401

    readable = list(readable)
    counts_alone = _leave_roots_count()
    scratch = _enter_namespaces(memory, readable)
    if counts_alone and not _may_look():
        os.setresuid(0, -1, -1)
        counts_alone = False
    if sockets and not scratch:
        raise OSError(errno.EPERM, "this runtime needs user namespaces to be isolated, and the kernel gives none")
    limit(resource.RLIMIT_CORE, 0)
    limit(resource.RLIMIT_DATA, memory)
    limit(resource.RLIMIT_AS, min(_ADDRESSES + 2 * memory + model, _LARGEST))  # its page tables are memory too
    if counts_alone or scratch:  # else the kernel counts the threads of all processes of the user, and none of root's
        limit(resource.RLIMIT_NPROC, threads)
    lifeline = _with_last_number(lifeline)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lifeline + 1, lifeline + 1))
    os.chdir("/")
    _restrict_files(readable, scratch)
    if scratch:
        os.environ["TMPDIR"] = scratch
    else:  # some libraries ask for such a folder when they are imported, without writing to it
        tempfile.tempdir = "/no-scratch-folder-without-user-namespaces"
    _drop_capabilities(may_look=counts_alone)
    _restrict_calls(sockets, lifeline)
    return scratch


def _leave_roots_count() -> bool:
    """Where this process is root, whose threads the kernel doesn't count: have them counted as those of a user that has
    no other process. The effective user stays root, which decides about files. Whether that was needed and granted."""
    if os.geteuid() != 0:
        return False
    try:
        os.setresuid(_FIRST_USER + os.getpid(), -1, -1)
    except OSError:  # root of a user namespace, who is another user outside and counted as that
        return False
    return True


def _may_look() -> bool:
    """Whether this process has the capabilities that `_drop_capabilities(may_look=True)` keeps."""
    needed = _CAP_DAC_READ_SEARCH | _CAP_SETPCAP
    with open("/proc/self/status") as file:
        effective = next(int(line.split()[1], 16) for line in file if line.startswith("CapEff:"))
    return effective & needed == needed


def _with_last_number(file: int) -> int:
    """Give a file the highest number that this process may use from now on: the seccomp filter then tells it from all
    others by one comparison."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    files = _MAX_FILES if most == resource.RLIM_INFINITY else min(most, _MAX_FILES)
    number = fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, files - 1)
    os.close(file)
    return number


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _enter_namespaces(memory: int, readable: Sequence[str]) -> str:
    """Enter namespaces of its own; gives the scratch folder in them, or an empty text if the kernel grants none."""
    needed = [*readable, sys.prefix, sys.base_prefix]
    place = next((it for it in _PLACES if os.path.isdir(it) and not any(_is_in(path, it) for path in needed)), None)
    if place is None:
        return ""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.geteuid(), os.getegid()
    if libc.unshare(NAMESPACES) != 0:
        return ""
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
        _check(libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None))
        inodes = max(_LEAST_INODES, memory // _BYTES_AN_INODE)
        flags, data = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, f"size={memory},nr_inodes={inodes},mode=700".encode()
        _check(libc.mount(b"none", place.encode(), b"tmpfs", flags, data))
    except OSError:
        return ""  # a namespace without rights; Landlock and seccomp protect what can be seen of the machine
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ask, suppress(OSError):
        asked = fcntl.ioctl(ask, _SIOCGIFFLAGS, struct.pack("16sH14x", b"lo", 0))
        (flags,) = struct.unpack_from("16xH", asked)
        fcntl.ioctl(ask, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))
    return place


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _restrict_files(readable: Iterable[str], scratch: str) -> None:
    from landlock import FSAccess, Ruleset

    ctypes.set_errno(0)  # which that package takes for its own calls'
    rules = Ruleset()
    file, folder = FSAccess.READ_FILE, FSAccess.READ_FILE | FSAccess.READ_DIR
    for path in (*_SYSTEM, *cgroup_files(), *readable):
        with suppress(FileNotFoundError, NotADirectoryError):
            rules.allow(path, rules=folder if os.path.isdir(path) else file)
    for path in _DEVICES:
        rules.allow(path, rules=FSAccess.READ_FILE)
    rules.allow("/dev/null", rules=FSAccess.READ_FILE | FSAccess.WRITE_FILE)
    if scratch:
        rules.allow(scratch, rules=FSAccess.all() & ~(FSAccess.EXECUTE | FSAccess.MAKE_CHAR | FSAccess.MAKE_BLOCK))
    rules.apply()
    os.close(rules._fd)


def cgroup_files() -> list[str]:
    """The files with the limits of this process's cgroups and of the cgroups above them."""
    folders = {_CGROUPS}
    with suppress(OSError), open("/proc/self/cgroup") as file:
        for line in file:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            folder = os.path.normpath(f"{_CGROUPS}/{controllers}/{path}")
            while _is_in(folder, _CGROUPS):
                folders.add(folder)
                folder = os.path.dirname(folder)
    return [f"{folder}/{name}" for folder in folders for name in _CGROUP_FILES]


def _drop_capabilities(*, may_look: bool) -> None:
    """Give up the rights of root, on the machine or in a user namespace. If it `may_look`, access(2) goes on to answer
    for root, not for the real user."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    kept = 0
    if may_look:
        _check(libc.prctl(_PR_SET_SECUREBITS, _NO_SETUID_FIXUP, 0, 0, 0))
        kept = _CAP_DAC_READ_SEARCH
    _check(libc.capset(header, (ctypes.c_uint32 * 6)(kept, kept)))


def _bound_stack() -> int:
    """Bound the main thread's stack; gives the lowest address that the stack can reach. A mapping of it that `mremap`
    moves away would grow without being counted."""
    soft, _ = resource.getrlimit(resource.RLIMIT_STACK)
    most = _MAX_STACK if soft == resource.RLIM_INFINITY else min(soft, _MAX_STACK)
    resource.setrlimit(resource.RLIMIT_STACK, (most, most))
    with open("/proc/self/maps") as file:
        line = next(line for line in file if line.rstrip().endswith("[stack]"))
    return int(line.split()[0].split("-")[1], 16) - most


def _restrict_calls(sockets: bool, lifeline: int) -> None:
    import pyseccomp as seccomp

    rules = seccomp.SyscallFilter(seccomp.ERRNO(errno.EPERM))
    for name in " ".join(_CALLS).split():
        with suppress(OSError, ValueError):  # not on this processor, or not known to this library
            rules.add_rule(seccomp.ALLOW, name)

    def allow(name: str, *conditions: object) -> None:
        rules.add_rule(seccomp.ALLOW, name, *conditions)

    def argument_is(place: int, value: int) -> object:
        return seccomp.Arg(place, seccomp.EQ, value)

    def bits_are(place: int, bits: int, value: int) -> object:
        return seccomp.Arg(place, seccomp.MASKED_EQ, bits, value)

    # Threads, but no processes. The newer call has its flags in memory, where they can't be seen.
    allow("clone", bits_are(0, _CLONE_THREAD, _CLONE_THREAD))
    rules.add_rule(seccomp.ERRNO(errno.ENOSYS), "clone3")
    # Memory that is shared but no file's doesn't count as the process's own, nor does a stack's.
    for kind in (0, _MAP_SHARED, _MAP_ANONYMOUS):
        allow("mmap", bits_are(3, _MAP_SHARED | _MAP_ANONYMOUS | _MAP_GROWSDOWN, kind))
    allow("mremap", seccomp.Arg(0, seccomp.LT, _bound_stack()))
    # Where its threads run is for the scheduler to say: a success that changes nothing.
    rules.add_rule(seccomp.ERRNO(0), "sched_setaffinity")
    allow("tgkill", argument_is(0, os.getpid()))
    allow("prlimit64", argument_is(0, 0))
    for what in (_PR_SET_NAME, _PR_GET_NAME, _PR_SET_VMA):
        allow("prctl", argument_is(0, what))
    for request in (_FIONREAD, _FIONBIO, _FIOCLEX, _TCGETS, _TIOCGWINSZ):
        allow("ioctl", argument_is(1, request))
    # Its lifeline is how it is told of the host's end, so it stays open. What could silence it (F_SETFL, FIOASYNC,
    # F_SETOWN, F_SETSIG) is for no file, as it can have other numbers; nor can its mode be changed, to open it for
    # writing.
    for name, place in (("close", 0), ("dup2", 1), ("dup3", 1)):
        allow(name, seccomp.Arg(place, seccomp.LT, lifeline))
    for command in (
        *(fcntl.F_GETFD, fcntl.F_SETFD, fcntl.F_GETFL, fcntl.F_DUPFD, fcntl.F_DUPFD_CLOEXEC, fcntl.F_GET_SEALS),
    ):
        allow("fcntl", argument_is(1, command))
    if sockets:
        allow("socket", argument_is(0, socket.AF_INET))
        for name in _SOCKET_CALLS:
            allow(name)
    rules.load()
