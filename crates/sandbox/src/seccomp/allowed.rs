//! System calls that code in a box may make whatever their arguments are. Data: each entry says who needs it.
//!
//! What is not here and not in `conditions` is refused. A new entry is a wider door: it belongs here if a library that
//! people use fails without it, and if the namespaces, limits and rights of the box bound what it can do.

#[cfg(any(target_arch = "aarch64", test))]
use super::conditions::NOT_OF_LOCKS;
#[cfg(any(target_arch = "aarch64", test))]
use super::rules::if_any;
use super::rules::{Entry, always, call, calls};

/// What every architecture has.
pub(super) const ALLOWED: &[Entry] = &[
    // Files.
    always(
        calls![
            SYS_read SYS_write SYS_readv SYS_writev SYS_pread64 SYS_pwrite64 SYS_preadv SYS_pwritev SYS_preadv2
            SYS_pwritev2 SYS_lseek SYS_close SYS_close_range SYS_dup SYS_dup3 SYS_fcntl SYS_flock SYS_pipe2
        ],
        "io, subprocess, sqlite3: descriptors and what is read and written through them",
    ),
    always(calls![SYS_openat], "io, import, glibc's loader: the box's view of files bounds them"),
    always(
        calls![SYS_fstat SYS_newfstatat SYS_statx SYS_statfs SYS_fstatfs SYS_faccessat SYS_faccessat2 SYS_readlinkat],
        "import, os.path, pathlib, shutil.disk_usage, uvloop: looking at files",
    ),
    always(
        calls![SYS_getdents64 SYS_getcwd SYS_chdir SYS_fchdir SYS_umask],
        "os.listdir, os.scandir, glob, subprocess(cwd=): folders",
    ),
    always(
        calls![
            SYS_mkdirat SYS_unlinkat SYS_renameat2 SYS_linkat SYS_symlinkat SYS_fchmod SYS_fchmodat SYS_fchown
            SYS_fchownat SYS_utimensat SYS_truncate SYS_ftruncate SYS_fallocate
        ],
        "tempfile, shutil, tarfile, pip: making, changing and removing files, as far as their rights allow",
    ),
    always(
        // Calls since 5.1 have one number on all architectures; libc's tables lack some of them.
        &[call("SYS_fchmodat2", 452)],
        "fchmodat with AT_SYMLINK_NOFOLLOW in newer C libraries: os.chmod(follow_symlinks=False)",
    ),
    always(
        calls![
            SYS_getxattr SYS_lgetxattr SYS_fgetxattr SYS_listxattr SYS_llistxattr SYS_flistxattr SYS_setxattr
            SYS_lsetxattr SYS_fsetxattr SYS_removexattr SYS_lremovexattr SYS_fremovexattr
        ],
        "shutil.copystat, hence shutil.copy2 and copytree",
    ),
    always(
        calls![SYS_sendfile SYS_copy_file_range SYS_splice SYS_tee],
        "shutil.copyfile, os.sendfile, asyncio's loop.sendfile, os.splice: copying without user memory",
    ),
    always(
        calls![SYS_fsync SYS_fdatasync SYS_sync SYS_syncfs SYS_fadvise64 SYS_readahead],
        "sqlite3, lmdb, rocksdb, os.sync: what is on disk. Refusing sync would break promises in silence, as it can't fail",
    ),
    always(
        calls![SYS_inotify_init1 SYS_inotify_add_watch SYS_inotify_rm_watch],
        "watchdog, watchfiles: changes of files",
    ),
    // Memory.
    always(
        calls![
            SYS_brk SYS_mmap SYS_munmap SYS_mremap SYS_mprotect SYS_madvise SYS_msync SYS_mincore SYS_mlock SYS_mlock2
            SYS_munlock SYS_mlockall SYS_munlockall
        ],
        "every allocator, mmap, numpy.memmap, lmdb, libsodium and libcrypto (locked keys)",
    ),
    always(
        calls![SYS_pkey_mprotect SYS_pkey_alloc SYS_pkey_free SYS_mseal SYS_membarrier],
        "V8 and other compilers at run time, newer C libraries (sealed mappings), liburcu: memory of the caller only",
    ),
    always(
        &[call("SYS_map_shadow_stack", 453)],
        "newer C libraries where the processor protects return addresses",
    ),
    always(
        calls![SYS_memfd_create],
        "multiprocessing.heap of some libraries, os.memfd_create, pyarrow: memory as a descriptor",
    ),
    always(
        calls![SYS_shmget SYS_shmat SYS_shmdt SYS_shmctl SYS_semget SYS_semop SYS_semtimedop SYS_semctl],
        "PostgreSQL in tests, Oracle's client, sysv_ipc: bounded by the namespace for these objects",
    ),
    // Processes and threads.
    always(
        calls![SYS_execve SYS_execveat SYS_exit SYS_exit_group SYS_wait4 SYS_waitid SYS_restart_syscall],
        "subprocess, multiprocessing: programs and their ends",
    ),
    always(
        calls![SYS_futex SYS_futex_waitv SYS_set_robust_list SYS_set_tid_address SYS_rseq SYS_gettid SYS_sched_yield],
        "threading, and what glibc does at the start of a thread",
    ),
    always(
        &[call("SYS_futex_wake", 454), call("SYS_futex_wait", 455), call("SYS_futex_requeue", 456)],
        "futex by its newer names, for libraries that prefer them",
    ),
    always(
        calls![
            SYS_getpid SYS_getppid SYS_getpgid SYS_getsid SYS_setpgid SYS_setsid SYS_getuid SYS_geteuid SYS_getgid
            SYS_getegid SYS_getresuid SYS_getresgid SYS_getgroups
        ],
        "os, subprocess(start_new_session=, process_group=): who one is",
    ),
    always(
        calls![
            SYS_setuid SYS_setgid SYS_setreuid SYS_setregid SYS_setresuid SYS_setresgid SYS_setfsuid SYS_setfsgid
            SYS_setgroups SYS_capget SYS_capset
        ],
        "subprocess(user=, group=) and programs that drop rights first: nothing is won without rights in a namespace, \
         and no_new_privs keeps set-user-id files from giving them",
    ),
    always(
        calls![SYS_kill SYS_tkill SYS_tgkill SYS_rt_sigqueueinfo SYS_rt_tgsigqueueinfo SYS_pidfd_open SYS_pidfd_send_signal],
        "signal, subprocess, asyncio (child watcher), abort: the process namespace bounds who can be meant",
    ),
    always(
        calls![
            SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigreturn SYS_rt_sigpending SYS_rt_sigsuspend
            SYS_rt_sigtimedwait SYS_sigaltstack SYS_signalfd4
        ],
        "signal, faulthandler, uvloop, Go and Rust libraries: receiving signals",
    ),
    always(
        calls![
            SYS_sched_getaffinity SYS_sched_setaffinity SYS_sched_getparam SYS_sched_setparam SYS_sched_getscheduler
            SYS_sched_setscheduler SYS_sched_getattr SYS_sched_setattr SYS_sched_get_priority_max
            SYS_sched_get_priority_min SYS_sched_rr_get_interval SYS_getpriority SYS_setpriority SYS_ioprio_get
            SYS_ioprio_set SYS_getcpu
        ],
        "numpy, torch and joblib (how many processors), psutil, os.nice: limits keep real-time classes away",
    ),
    always(
        calls![SYS_getrusage SYS_times SYS_sysinfo SYS_uname],
        "resource, psutil, platform: what was used, and where one is",
    ),
    always(
        calls![SYS_landlock_create_ruleset SYS_landlock_add_rule SYS_landlock_restrict_self],
        "programs that confine themselves further",
    ),
    always(calls![SYS_getrandom], "os.urandom, ssl, hash seeds"),
    // Time.
    always(
        calls![
            SYS_clock_gettime SYS_clock_getres SYS_clock_nanosleep SYS_nanosleep SYS_gettimeofday SYS_getitimer
            SYS_setitimer SYS_timer_create SYS_timer_settime SYS_timer_gettime SYS_timer_getoverrun SYS_timer_delete
            SYS_timerfd_create SYS_timerfd_settime SYS_timerfd_gettime
        ],
        "time, asyncio, signal.setitimer, gevent: reading clocks and waiting",
    ),
    // Waiting for several things, and sockets.
    always(
        calls![
            SYS_epoll_create1 SYS_epoll_ctl SYS_epoll_pwait SYS_epoll_pwait2 SYS_pselect6 SYS_ppoll SYS_eventfd2
        ],
        "selectors, asyncio, uvloop, grpc, gevent",
    ),
    always(
        calls![
            SYS_bind SYS_listen SYS_accept SYS_accept4 SYS_connect SYS_getsockname SYS_getpeername SYS_recvfrom
            SYS_recvmsg SYS_recvmmsg SYS_shutdown SYS_setsockopt SYS_getsockopt
        ],
        "socket, ssl, asyncio, grpc, debugpy, multiprocessing: on sockets that `socket` let through. `egress` watches \
         connect and listen",
    ),
];

/// What x86_64 has besides: older forms, which aarch64 never had. Much of glibc and many programs still use them.
#[cfg(target_arch = "x86_64")]
pub(super) const LEGACY: &[Entry] = &[
    always(
        calls![SYS_open SYS_creat SYS_stat SYS_lstat SYS_access SYS_readlink SYS_getdents],
        "as openat and its kin: older C libraries, Go, programs linked statically",
    ),
    always(
        calls![
            SYS_mkdir SYS_rmdir SYS_unlink SYS_rename SYS_renameat SYS_link SYS_symlink SYS_chmod SYS_chown SYS_lchown
            SYS_utime SYS_utimes SYS_futimesat
        ],
        "as mkdirat and its kin",
    ),
    always(calls![SYS_pipe SYS_dup2 SYS_eventfd SYS_signalfd SYS_inotify_init], "as those with flags"),
    always(
        calls![SYS_poll SYS_select SYS_epoll_create SYS_epoll_wait],
        "select.poll, select.select, select.epoll: glibc still calls these",
    ),
    always(calls![SYS_fork SYS_vfork], "_posixsubprocess uses vfork; neither can make a namespace"),
    always(calls![SYS_getrlimit], "as prlimit64"),
    always(calls![SYS_sync_file_range], "rocksdb: what is on disk"),
    always(calls![SYS_getpgrp SYS_alarm SYS_pause SYS_time], "os.getpgrp, signal.alarm, signal.pause"),
    always(
        calls![SYS_arch_prctl],
        "glibc's thread pointer; oneDNN in torch asks for the matrix registers: state of the caller's thread only",
    ),
];

/// The few older forms of aarch64. libc's tables lack them for some C libraries. Known to tests everywhere, so that what a
/// box may do there is reviewed by whoever changes it here.
#[cfg(any(target_arch = "aarch64", test))]
pub(super) const LEGACY_OF_AARCH64: &[Entry] = &[
    always(&[call("SYS_renameat", 38)], "as renameat2 without flags: glibc's rename"),
    always(&[call("SYS_sync_file_range", 84)], "rocksdb: what is on disk"),
    always(&[call("SYS_getrlimit", 163)], "as prlimit64"),
    if_any(&[call("SYS_setrlimit", 164)], NOT_OF_LOCKS, "as prlimit64"),
];

#[cfg(target_arch = "aarch64")]
pub(super) const LEGACY: &[Entry] = LEGACY_OF_AARCH64;

/// An architecture that nobody has looked at: without the older forms at worst a program fails that could run.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) const LEGACY: &[Entry] = &[];
