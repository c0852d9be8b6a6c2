//! The words in which the lists of system calls are written: calls, conditions on their arguments, answers, reasons.

/// A system call of the architecture that this is built for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    /// As the C library names it: `SYS_read`.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the kernel wants numbers; people and the inventory want names")
    )]
    pub(super) name: &'static str,
    pub(super) number: libc::c_long,
}

/// What an argument has to be.
///
/// Of numbers only the lower half is compared: each one that the lists look at is an `int`, an `unsigned int` or shorter in
/// the kernel, which ignores the upper half. Were it compared, a caller could hide a value by setting a bit there.
#[derive(Clone, Copy, Debug)]
pub(super) enum Test {
    Is(u32),
    IsNot(u32),
    /// An address, of which both halves count: there is nothing to be read.
    IsNull,
    /// The bits of the mask are as in the value; the others don't matter.
    HasBits {
        mask: u32,
        value: u32,
    },
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Condition {
    /// From 0.
    pub(super) argument: u8,
    pub(super) test: Test,
}

/// Calls that get the answer of their section, and why.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) calls: &'static [Call],
    /// One of these must hold, and all conditions in it. Empty: the arguments don't matter.
    pub(super) when: &'static [&'static [Condition]],
    /// For those who review the list; no code reads it.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the reason is for readers, and a test asks that there is one")
    )]
    pub(super) why: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    Allow,
    /// The call is not made, and fails with this error number.
    Refuse(u16),
    /// The call waits until whoever holds the listener has decided.
    Notify,
}

/// Entries with one answer. Of several sections the first that has something to say about a call decides.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section {
    pub(super) answer: Answer,
    pub(super) entries: &'static [&'static [Entry]],
}

impl Section {
    pub(super) fn entries(&self) -> impl Iterator<Item = &'static Entry> {
        self.entries.iter().copied().flatten()
    }
}

/// For a call that libc's tables don't name everywhere.
pub(super) const fn call(name: &'static str, number: libc::c_long) -> Call {
    Call { name, number }
}

pub(super) const fn always(calls: &'static [Call], why: &'static str) -> Entry {
    Entry { calls, when: &[], why }
}

pub(super) const fn if_any(
    calls: &'static [Call],
    when: &'static [&'static [Condition]],
    why: &'static str,
) -> Entry {
    Entry { calls, when, why }
}

pub(super) const fn is(argument: u8, value: i32) -> Condition {
    Condition { argument, test: Test::Is(value.cast_unsigned()) }
}

pub(super) const fn is_not(argument: u8, value: u32) -> Condition {
    Condition { argument, test: Test::IsNot(value) }
}

pub(super) const fn is_null(argument: u8) -> Condition {
    Condition { argument, test: Test::IsNull }
}

pub(super) const fn has_bits(argument: u8, mask: i32, value: i32) -> Condition {
    Condition { argument, test: Test::HasBits { mask: mask.cast_unsigned(), value: value.cast_unsigned() } }
}

/// Numbers from the C library's table for the architecture: a name that it has not does not compile.
macro_rules! calls {
    ($($name:ident)*) => {
        &[$($crate::seccomp::rules::call(stringify!($name), libc::$name)),*]
    };
}
pub(super) use calls;
