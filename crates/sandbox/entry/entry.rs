//! The native part of the Python worker: the fork of a worker into its cell.
//!
//! Built by itself (`build.rs`) into a library that any CPython from 3.8 on loads: it uses the stable interface only, and
//! neither Rust's standard library nor an allocator. It is trusted no more than the process that loads it: all that it can
//! do is give up rights. What it must not be able to do, the filter of system calls sees to.
//!
//! Sources: Python/C API reference (stable ABI); setns(2), unshare(2), capset(2), seccomp(2), landlock_restrict_self(2).

#![no_std]
#![allow(non_camel_case_types, reason = "names of C")]

mod filter;

use core::ffi::{c_char, c_int, c_long, c_void};

use filter::{FORBID_NAMESPACES, Instruction, SETNS, UNSHARE};

type Object = *mut c_void;

#[repr(C)]
struct MethodDef {
    name: *const c_char,
    method: Option<extern "C" fn(Object, Object) -> Object>,
    flags: c_int,
    doc: *const c_char,
}

#[repr(C)]
struct ModuleDef {
    reference_count: isize,
    kind: *const c_void,
    init: *const c_void,
    index: isize,
    copy: *const c_void,
    name: *const c_char,
    doc: *const c_char,
    size: isize,
    methods: *const MethodDef,
    rest: [*const c_void; 4],
}

struct Shared<T>(T);
// SAFETY: only Python looks into what is shared, under its own lock.
unsafe impl<T> Sync for Shared<T> {}

unsafe extern "C" {
    fn PyModule_Create2(module: *const ModuleDef, version: c_int) -> Object;
    fn PyArg_ParseTuple(arguments: Object, format: *const c_char, ...) -> c_int;
    fn PyLong_FromLong(value: c_long) -> Object;
    fn PyErr_SetFromErrno(kind: Object) -> Object;
    static PyExc_OSError: Object;
    fn PyOS_BeforeFork();
    fn PyOS_AfterFork_Parent();
    fn PyOS_AfterFork_Child();
}

#[link(name = "c")]
unsafe extern "C" {
    fn fork() -> c_int;
    fn _exit(status: c_int) -> !;
    fn syscall(number: c_long, ...) -> c_long;
    fn chdir(path: *const c_char) -> c_int;
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn __errno_location() -> *mut c_int;
}

const METH_VARARGS: c_int = 1;
/// Of the stable interface.
const API_VERSION: c_int = 3;

const CLONE_NEWNS: c_long = 0x0002_0000;
const CLONE_NEWIPC: c_long = 0x0800_0000;
const CLONE_NEWPID: c_long = 0x2000_0000;

#[cfg(target_arch = "x86_64")]
mod number {
    use core::ffi::c_long;
    pub const CAPSET: c_long = 126;
    pub const SECCOMP: c_long = 317;
}
#[cfg(target_arch = "aarch64")]
mod number {
    use core::ffi::c_long;
    pub const CAPSET: c_long = 91;
    pub const SECCOMP: c_long = 277;
}
// The same everywhere.
const LANDLOCK_CREATE_RULESET: c_long = 444;
const LANDLOCK_ADD_RULE: c_long = 445;
const LANDLOCK_RESTRICT_SELF: c_long = 446;
const CLOSE_RANGE_OF_ONE: c_long = 436;

static METHODS: Shared<[MethodDef; 2]> = Shared([
    MethodDef {
        name: c"fork".as_ptr(),
        method: Some(fork_into_cell),
        flags: METH_VARARGS,
        doc: c"fork(process_numbers, mounts, directory): forks into a cell; 0 in the child".as_ptr(),
    },
    MethodDef { name: core::ptr::null(), method: None, flags: 0, doc: core::ptr::null() },
]);

// In a cell, as Python writes into it: else it would be where nothing can be written.
static MODULE: Shared<core::cell::UnsafeCell<ModuleDef>> = Shared(core::cell::UnsafeCell::new(ModuleDef {
    reference_count: 1,
    kind: core::ptr::null(),
    init: core::ptr::null(),
    index: 0,
    copy: core::ptr::null(),
    name: c"ingle_entry".as_ptr(),
    doc: core::ptr::null(),
    size: -1,
    methods: METHODS.0.as_ptr(),
    rest: [core::ptr::null(); 4],
}));

/// What Python calls when it imports the library.
///
/// # Safety
/// Called by the interpreter, with its lock held.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyInit_ingle_entry() -> Object {
    // SAFETY: the definition lives for ever, and nobody else looks into it.
    unsafe { PyModule_Create2(MODULE.0.get(), API_VERSION) }
}

extern "C" fn fork_into_cell(_module: Object, arguments: Object) -> Object {
    let mut numbers: c_int = -1;
    let mut mounts: c_int = -1;
    let mut directory: *const c_char = core::ptr::null();
    // SAFETY: the interpreter calls this with its lock held and a tuple; each place has the type that the format names.
    unsafe {
        let format = c"iiy".as_ptr();
        if PyArg_ParseTuple(arguments, format, &raw mut numbers, &raw mut mounts, &raw mut directory) == 0 {
            return core::ptr::null_mut();
        }
        // Whatever is forked next gets its number from the cell.
        if syscall(SETNS, c_long::from(numbers), CLONE_NEWPID) != 0 {
            return PyErr_SetFromErrno(PyExc_OSError);
        }
        PyOS_BeforeFork();
        let child = fork();
        let errno = *__errno_location();
        if child == 0 {
            // Before any Python of the app runs, and hooks for forks are such code.
            if !enter(mounts, directory) {
                _exit(71);
            }
            PyOS_AfterFork_Child();
            return PyLong_FromLong(0);
        }
        PyOS_AfterFork_Parent();
        if child < 0 {
            *__errno_location() = errno;
            return PyErr_SetFromErrno(PyExc_OSError);
        }
        PyLong_FromLong(c_long::from(child))
    }
}

/// The steps of a worker into its cell. False if one can't be done: it must not go on then.
///
/// # Safety
/// `directory` ends with a zero byte.
unsafe fn enter(mounts: c_int, directory: *const c_char) -> bool {
    // SAFETY: the calls get numbers, and addresses of what lives in this function.
    unsafe {
        // Its own /tmp and /proc. This makes the root the current folder.
        if syscall(SETNS, c_long::from(mounts), CLONE_NEWNS) != 0 {
            return false;
        }
        // Shared memory of System V outlives who made it, and would be counted for nobody then (T-013).
        if syscall(UNSHARE, CLONE_NEWIPC) != 0 {
            return false;
        }
        // A folder that is not there any more is found missing by whoever needs it.
        chdir(directory);
        // Rights were needed for the above, and for nothing that follows.
        let header: [u32; 2] = [0x2008_0522, 0];
        let none = [0_u32; 6];
        if syscall(number::CAPSET, header.as_ptr(), none.as_ptr()) != 0 {
            return false;
        }
        separate();
        forbid_namespaces()
    }
}

/// A Landlock domain of its own: workers of one app can't trace or signal each other, nor their zygote.
///
/// Systems without Landlock have the process numbers of the cell, which do the same. So have those with its first version,
/// where nobody in a domain can move files from one folder to another. Later ones let a rule allow it, which each domain
/// needs, as none allows it by itself.
///
/// # Safety
/// None: it passes addresses of what lives here.
unsafe fn separate() {
    const VERSION_WANTED: c_long = 1;
    const MOVE_FILES: u64 = 1 << 13;
    const SIGNALS_AND_ABSTRACT_SOCKETS: u64 = 3;
    /// The first version that lets a rule allow to move files.
    const WITH_MOVES: c_long = 2;
    /// The first version that knows scopes.
    const WITH_SCOPES: c_long = 6;
    const PATH_BENEATH: c_long = 1;
    const O_PATH: c_int = 0o10_000_000;
    const O_CLOEXEC: c_int = 0o2_000_000;
    unsafe {
        let nothing: *const u64 = core::ptr::null();
        let version = syscall(LANDLOCK_CREATE_RULESET, nothing, 0_usize, VERSION_WANTED);
        if version < WITH_MOVES {
            return;
        }
        let attributes = [MOVE_FILES, 0, SIGNALS_AND_ABSTRACT_SOCKETS];
        let size = if version >= WITH_SCOPES { 24_usize } else { 8_usize };
        let ruleset = syscall(LANDLOCK_CREATE_RULESET, attributes.as_ptr(), size, 0 as c_long);
        if ruleset < 0 {
            return;
        }
        let root = open(c"/".as_ptr(), O_PATH | O_CLOEXEC);
        let everywhere = Beneath { allowed: MOVE_FILES, folder: root };
        syscall(LANDLOCK_ADD_RULE, ruleset, PATH_BENEATH, &raw const everywhere, 0 as c_long);
        syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0 as c_long);
        for number in [c_long::from(root), ruleset] {
            syscall(CLOSE_RANGE_OF_ONE, number, number, 0 as c_long);
        }
    }
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct Beneath {
    allowed: u64,
    folder: c_int,
}

#[repr(C)]
struct Program {
    length: u16,
    instructions: *const Instruction,
}

/// A worker stays in its cell.
///
/// # Safety
/// None: it passes addresses of what lives here.
unsafe fn forbid_namespaces() -> bool {
    const SET_MODE_FILTER: c_long = 1;
    let instructions = FORBID_NAMESPACES;
    let program = Program { length: instructions.len() as u16, instructions: instructions.as_ptr() };
    unsafe { syscall(number::SECCOMP, SET_MODE_FILTER, 0 as c_long, &raw const program) == 0 }
}

#[panic_handler]
fn panic(_information: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: it does not return.
    unsafe { _exit(70) }
}

/// Named by parts of Rust's own library that never unwind here.
#[unsafe(no_mangle)]
pub extern "C" fn rust_eh_personality() {}
