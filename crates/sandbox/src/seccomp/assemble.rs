//! From sections to one program.
//!
//! seccompiler translates a section, but knows one answer for what matches, one for what does not, and no
//! notification. So each section is translated with *marks* for answers, of the kind "tell the tracer", which we never
//! use otherwise. Then the marks are replaced, one instruction by one: "no opinion" by a jump to the next section,
//! "notify" by the kernel's notification. One program instead of one for each answer is one load and one walk.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};

use super::conditions::NEWEST;
use super::rules::{Answer, Condition, Section, Test};
use super::{Error, Program};

/// The mark of a section that has nothing to say about the call.
const NO_OPINION: u16 = 1;
const NOTIFY: u16 = 2;

const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const JUMP_IF_GREATER: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
const JUMP_IF_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;

/// Where `struct seccomp_data` has the number of the call.
const NUMBER_OFFSET: u32 = 0;

/// Set in the numbers of x32, the second interface of x86_64, whose calls have the mark of the first.
const X32_BIT: u32 = 0x4000_0000;

/// The kernel takes no longer ones (BPF_MAXINSNS).
const INSTRUCTIONS_MAX: usize = 4096;

/// What a program does with calls that no section names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rest {
    Allow,
    /// EPERM; and ENOSYS for what is newer than the lists.
    Refuse,
}

/// The program that gives each call the answer of the first section that has one.
pub(super) fn assemble(sections: &[Section], rest: Rest) -> Result<Program, Error> {
    let mut instructions = join(translate(&BTreeMap::new(), &mark(NO_OPINION), SeccompAction::KillProcess)?);
    instructions.extend(refuse_x32());
    if rest == Rest::Refuse {
        instructions.extend(refuse_newer());
    }
    for section in sections {
        let translated = translate(&rules(section)?, &mark(NO_OPINION), action(section.answer))?;
        instructions.extend(join(translated));
    }
    instructions.push(answer_with(match rest {
        Rest::Allow => libc::SECCOMP_RET_ALLOW,
        Rest::Refuse => refusal(libc::EPERM as u16),
    }));
    if instructions.len() >= INSTRUCTIONS_MAX {
        return Err(Error::TooLong { count: instructions.len() });
    }
    Ok(Program::new(&instructions))
}

/// A section as seccompiler translates it. Its first instructions end a process that enters the kernel by the door of
/// another architecture, such as i386's on x86_64.
fn translate(
    rules: &BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: &SeccompAction,
    answer: SeccompAction,
) -> Result<BpfProgram, Error> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    let filter = SeccompFilter::new(rules.clone(), otherwise.clone(), answer, architecture)?;
    Ok(BpfProgram::try_from(filter)?)
}

fn rules(section: &Section) -> Result<BTreeMap<i64, Vec<SeccompRule>>, Error> {
    let mut rules = BTreeMap::new();
    for entry in section.entries() {
        for call in entry.calls {
            let alternatives =
                entry.when.iter().map(|conditions| rule(conditions)).collect::<Result<_, _>>()?;
            rules.insert(call.number, alternatives);
        }
    }
    Ok(rules)
}

fn rule(conditions: &[Condition]) -> Result<SeccompRule, seccompiler::BackendError> {
    let conditions = conditions.iter().map(|condition| {
        let (length, operator, value) = match condition.test {
            Test::Is(value) => (SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value),
            Test::IsNot(value) => (SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, value),
            Test::IsNull => (SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0),
            Test::HasBits { mask, value } => {
                (SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(u64::from(mask)), value)
            }
        };
        SeccompCondition::new(condition.argument, length, operator, u64::from(value))
    });
    SeccompRule::new(conditions.collect::<Result<_, _>>()?)
}

fn action(answer: Answer) -> SeccompAction {
    match answer {
        Answer::Allow => SeccompAction::Allow,
        Answer::Refuse(number) => SeccompAction::Errno(u32::from(number)),
        Answer::Notify => mark(NOTIFY),
    }
}

fn mark(number: u16) -> SeccompAction {
    SeccompAction::Trace(u32::from(number))
}

/// Replaces the marks. Behind the last instruction is the next section, so "no opinion" jumps there.
fn join(mut section: BpfProgram) -> BpfProgram {
    let count = section.len();
    for (index, instruction) in section.iter_mut().enumerate() {
        if is_marked(instruction, NO_OPINION) {
            // A program has at most 4096 instructions, so this is never more than the field holds.
            let distance = u32::try_from(count - index - 1).unwrap_or(u32::MAX);
            *instruction = sock_filter { code: JUMP, jt: 0, jf: 0, k: distance };
        } else if is_marked(instruction, NOTIFY) {
            *instruction = answer_with(libc::SECCOMP_RET_USER_NOTIF);
        }
    }
    section
}

fn is_marked(instruction: &sock_filter, number: u16) -> bool {
    instruction.code == RETURN && instruction.k == libc::SECCOMP_RET_TRACE | u32::from(number)
}

/// Ends a process that makes a call of x32. Its numbers would pass the lists of those who compare with the plain ones.
/// The number -1 has that bit too, but is what a debugger leaves behind of a call that it has made void.
fn refuse_x32() -> Vec<sock_filter> {
    if !cfg!(target_arch = "x86_64") {
        return Vec::new();
    }
    vec![
        load_number(),
        sock_filter { code: JUMP_IF_EQUAL, jt: 2, jf: 0, k: u32::MAX },
        sock_filter { code: JUMP_IF_AT_LEAST, jt: 0, jf: 1, k: X32_BIT },
        answer_with(libc::SECCOMP_RET_KILL_PROCESS),
    ]
}

fn refuse_newer() -> Vec<sock_filter> {
    let newest = u32::try_from(NEWEST).unwrap_or(u32::MAX);
    vec![
        load_number(),
        sock_filter { code: JUMP_IF_GREATER, jt: 0, jf: 1, k: newest },
        answer_with(refusal(libc::ENOSYS as u16)),
    ]
}

fn load_number() -> sock_filter {
    sock_filter { code: LOAD, jt: 0, jf: 0, k: NUMBER_OFFSET }
}

fn answer_with(answer: u32) -> sock_filter {
    sock_filter { code: RETURN, jt: 0, jf: 0, k: answer }
}

fn refusal(number: u16) -> u32 {
    libc::SECCOMP_RET_ERRNO | u32::from(number)
}

#[cfg(test)]
mod tests {
    use super::super::conditions::EGRESS;
    use super::*;

    /// All that seccompiler wrote stays as it is but for the marks.
    #[test]
    fn joining_changes_the_marks_and_nothing_else() {
        let marked = translate(&rules(&EGRESS).unwrap(), &mark(NO_OPINION), action(Answer::Notify)).unwrap();
        let joined = join(marked.clone());
        assert_eq!(joined.len(), marked.len());
        let mut notifications = 0;
        for (index, (before, after)) in marked.iter().zip(&joined).enumerate() {
            if is_marked(before, NOTIFY) {
                notifications += 1;
                assert_eq!((after.code, after.k), (RETURN, 0x7fc0_0000), "instruction {index}");
            } else if is_marked(before, NO_OPINION) {
                assert_eq!((after.code, after.k as usize), (JUMP, marked.len() - index - 1), "{index}");
            } else {
                assert_eq!(before, after, "instruction {index}");
            }
        }
        assert_eq!(notifications, 2, "one for connect, one for listen");
    }
}
