//! The keeper of a box: process 1 in it. It makes the box, starts what is asked for in it, and reaps.
//!
//! It ends with the server, whose socket then closes, and with it ends every process of the box.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};
use rustix::thread::UnshareFlags;

use super::maker::Filters;
use super::mark::{self, Mark};
use super::spec::{Answer, BoxSpec, Identity, Network, Numbered, Protection, Request, Role, Shortfall};
use super::sys::{At as _, Done, Failed, Side};
use super::{cell, enter, maker, plain, sys, view, wire};

/// From the fork of the maker to the end of the box. What fails on the way is told to the server.
pub(crate) fn begin(order: &Order<'_>, maker: UnixStream) -> ! {
    if let Err(failed) = make(order, maker) {
        order.tell_failed(None, failed);
    }
    sys::leave(0)
}

/// What is to be made, and for whom.
pub(crate) struct Order<'a> {
    pub(crate) spec: &'a BoxSpec,
    pub(crate) filters: &'a Filters,
    /// To the server.
    pub(crate) socket: &'a OwnedFd,
    /// What the processes of a box without process numbers are found by.
    pub(crate) mark: Option<Mark>,
}

impl Order<'_> {
    /// If the server is gone, the next look at the socket tells.
    fn tell(&self, answer: &Answer, attached: &[BorrowedFd<'_>]) {
        wire::send(self.socket, answer, attached).ok();
    }

    fn tell_failed(&self, id: Option<u64>, failed: Failed) {
        self.tell(&Answer::Failed { id, step: failed.step, errno: failed.errno }, &[]);
    }
}

/// Makes the box. The order of the steps matters, so each says why it is where it is.
fn make(order: &Order<'_>, mut maker: UnixStream) -> Done {
    let spec = order.spec;
    let mut shortfalls = Vec::new();
    // The first of all: who may not do it any more can't go below it later, whoever they become.
    go_first();
    if !spec.has_namespaces {
        drop(maker);
        if let Identity::Own { user } = spec.identity {
            plain::become_own_user(spec, user)?;
        }
        return fork_keeper(order, shortfalls, None);
    }
    // A user of its own, which only root can give, can't open the folders of others; so root opens them now, before it
    // is nobody. Without root they can't be mounted before there is a namespace in which we may mount.
    let is_root = matches!(spec.identity, Identity::Own { .. });
    let early = if is_root { Some(view::open_all(spec, &mut shortfalls)?) } else { None };
    // All at once: each belongs to the new namespace of users, in which we have every right and outside of which none.
    let mut namespaces = UnshareFlags::NEWUSER
        | UnshareFlags::NEWNS
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWCGROUP;
    if spec.network != Network::Host {
        namespaces |= UnshareFlags::NEWNET;
    }
    // Before: what the system counts for a user, such as its watches of files, it counts for whoever makes the namespace,
    // too. Were that root, functions could use up what all of the machine has (T-017).
    if let Identity::Own { user } = spec.identity {
        become_user(user, user, true)?;
    }
    unshare(namespaces)?;
    // The maker is outside and can say who we are; until then files that we make would belong to nobody.
    maker::ask(&mut maker, maker::BOX_USERS)?;
    drop(maker);
    let (user, group) = spec.users_inside();
    become_user(user, group, false)?;
    let trees = match early {
        Some(trees) => trees,
        None => view::open_all(spec, &mut shortfalls)?,
    };
    fork_keeper(order, shortfalls, Some(trees))
}

/// Processes of functions go first when the machine has no memory left (proc_pid_oom_score_adj(5)). What is written with
/// CAP_SYS_RESOURCE, others can't go below.
fn go_first() {
    std::fs::write("/proc/self/oom_score_adj", FIRST_TO_GO).ok();
}

const FIRST_TO_GO: &str = "500";

pub(crate) fn unshare(namespaces: UnshareFlags) -> Done {
    // SAFETY: this process has one thread, which shares no table of descriptors with anybody.
    #[expect(unsafe_code, reason = "it could separate tables of descriptors, which is not asked for")]
    unsafe { rustix::thread::unshare_unsafe(namespaces) }.at("make namespaces")
}

pub(crate) fn become_user(user: u32, group: u32, leaves_groups: bool) -> Done {
    use rustix::thread::{Gid, Uid, set_keep_capabilities, set_thread_res_gid, set_thread_res_uid};
    set_keep_capabilities(true).at("keep capabilities")?;
    if leaves_groups {
        // Else we would stay in the groups of root.
        rustix::thread::set_thread_groups(&[]).at("leave all groups")?;
    }
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
    set_thread_res_gid(group, group, group).at("become the group of the box")?;
    set_thread_res_uid(user, user, user).at("become the user of the box")
}

/// The first process of the new process numbers has to be forked; whoever made them stays outside and ends.
fn fork_keeper(order: &Order<'_>, shortfalls: Vec<Shortfall>, trees: Option<Vec<view::Tree>>) -> Done {
    match sys::fork().at("fork process 1 of the box")? {
        Side::Parent(_) => Ok(()),
        Side::Child => {
            let kept = settle(order.spec, trees).and_then(|resolver| keep(order, shortfalls, resolver));
            if let Err(failed) = kept {
                order.tell_failed(None, failed);
            }
            if !order.spec.has_namespaces {
                end_all(order.mark);
            }
            sys::leave(0)
        }
    }
}

/// What only process 1 can do: its `/proc` shows its own process numbers.
fn settle(spec: &BoxSpec, trees: Option<Vec<view::Tree>>) -> Done<Vec<OwnedFd>> {
    // It holds the sockets of the box: nobody in it may look into it.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .at("hide the keeper")?;
    let Some(trees) = trees else {
        // Orphans of the box become its children then, as they become those of process 1 in others.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).at("take orphans")?;
        return Ok(Vec::new());
    };
    view::build(spec, trees)?;
    limit_watches();
    if spec.role == Role::Program {
        // A builder may be root's user, where files can't be lent to another (`run`), and then root's settings of the machine
        // are its own. Where workers are made, nobody is; and a `/proc` with hidden parts would keep cells from mounting theirs.
        cell::hide()?;
    }
    rustix::system::sethostname(b"ingle").at("name the machine")?;
    let Network::Own { resolver } = spec.network else { return Ok(Vec::new()) };
    sys::loopback_up(RESOLVER).at("turn loopback on")?;
    if resolver { resolver_sockets() } else { Ok(Vec::new()) }
}

/// Where the system does not end a box with its process 1, the keeper does before it goes: all with the mark at once, and
/// whatever else is below it, as orphans come to it.
fn end_all(mark: Option<Mark>) {
    mark.iter().for_each(|mark| mark.end());
    loop {
        for child in mark::children() {
            if let Some(child) = Pid::from_raw(child) {
                rustix::process::kill_process(child, Signal::KILL).ok();
            }
        }
        // Those that were orphaned by the one that has ended are new.
        if let Err(rustix::io::Errno::CHILD) = rustix::process::wait(WaitOptions::empty()) {
            return;
        }
    }
}

/// Who runs the server as an ordinary user shares what the system has for that user with all boxes; so a box gets a part
/// of it (T-017). Systems that can't do that leave it at their own limit.
fn limit_watches() {
    for (name, most) in [("max_inotify_instances", "32"), ("max_inotify_watches", "16384")] {
        std::fs::write(std::path::Path::new("/proc/sys/user").join(name), most).ok();
    }
}

/// The address that `/etc/resolv.conf` of a box names.
const RESOLVER: std::net::Ipv4Addr = std::net::Ipv4Addr::new(127, 0, 0, 53);

/// Where programs in the box find their resolver, which the server plays.
fn resolver_sockets() -> Done<Vec<OwnedFd>> {
    let address = (RESOLVER, 53);
    let datagrams = std::net::UdpSocket::bind(address).at("make the resolver's socket")?;
    let streams = std::net::TcpListener::bind(address).at("make the resolver's socket")?;
    Ok(vec![datagrams.into(), streams.into()])
}

/// The life of a keeper.
fn keep(order: &Order<'_>, mut shortfalls: Vec<Shortfall>, resolver: Vec<OwnedFd>) -> Done {
    let socket = order.socket;
    let signals = sys::child_signals().at("watch children")?;
    let own = open_process(rustix::process::getpid())?;
    let mut attached = vec![own.as_fd()];
    attached.extend(resolver.iter().map(AsFd::as_fd));
    if !order.spec.has_namespaces && order.mark.is_none() {
        let reason = "a limit of file locks that the server was started with leaves no room for marks, so daemons that \
                      leave their worker's group are ended with the box only";
        let protection = Protection::ProcessNumbers;
        shortfalls.push(Shortfall { protection, reason: reason.to_owned() });
    }
    wire::send(socket, &Answer::Ready { shortfalls, mark: order.mark }, &attached)
        .at("say that the box is ready")?;
    drop((own, resolver));
    let mut keeper = Keeper { order, starters: HashSet::new(), families: Vec::new() };
    loop {
        let own = [PollFd::new(socket, PollFlags::IN), PollFd::new(&signals, PollFlags::IN)];
        let families = keeper.families.iter().map(|(held, _)| PollFd::new(held, PollFlags::IN));
        let mut watched: Vec<PollFd<'_>> = own.into_iter().chain(families).collect();
        match rustix::event::poll(&mut watched, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).at("wait for requests"),
        }
        let happened: Vec<bool> = watched.iter().map(|watched| !watched.revents().is_empty()).collect();
        let [asked, ended, let_go @ ..] = &happened[..] else { continue };
        let (asked, ended) = (*asked, *ended);
        keeper.end_families(let_go);
        if ended {
            let mut unused = [0; 128];
            rustix::io::read(&signals, &mut unused).ok();
            keeper.reap();
        }
        if asked {
            let Ok(Some((numbered, attached))) = wire::receive::<Numbered>(socket) else { return Ok(()) };
            keeper.answer(numbered, attached);
        }
    }
}

fn open_process(process: Pid) -> Done<OwnedFd> {
    rustix::process::pidfd_open(process, PidfdFlags::empty()).at("open a process")
}

struct Keeper<'a> {
    order: &'a Order<'a>,
    /// Processes that only make a cell, or abort a program; nobody waits for their status.
    starters: HashSet<i32>,
    /// Marks of workers, each with a socket that the server holds the other end of for as long as the worker may live.
    families: Vec<(OwnedFd, Mark)>,
}

impl Keeper<'_> {
    fn answer(&mut self, numbered: Numbered, attached: Vec<OwnedFd>) {
        let id = numbered.id;
        let done = match numbered.request {
            Request::Start(program) => self.start(id, &program, &attached),
            Request::Cell => self.make_cell(id),
            Request::Mark { process } => self.mark(id, process),
            Request::Abort { process } => self.abort(process),
        };
        if let Err(failed) = done {
            self.order.tell_failed(Some(id), failed);
        }
    }

    fn start(&self, id: u64, program: &super::spec::Program, attached: &[OwnedFd]) -> Done {
        let (ours, theirs) = wire::pair().at("make a pair of sockets")?;
        match sys::fork().at("fork")? {
            Side::Child => {
                drop(ours);
                enter::start(self.order, program, attached, &theirs)
            }
            Side::Parent(child) => {
                drop(theirs);
                let mut listener = None;
                // It ends when the program has begun, as an exec closes the socket.
                while let Ok(Some((told, descriptors))) = wire::receive::<Option<(String, i32)>>(&ours) {
                    match told {
                        Some((step, errno)) => return Err(Failed { step, errno }),
                        None => listener = descriptors.into_iter().next(),
                    }
                }
                let process = Pid::from_raw(child).map(open_process).transpose()?;
                let attached: Vec<_> = process.iter().chain(&listener).map(AsFd::as_fd).collect();
                self.order.tell(&Answer::Started { id, process: child }, &attached);
                Ok(())
            }
        }
    }

    fn make_cell(&mut self, id: u64) -> Done {
        match sys::fork().at("fork")? {
            Side::Child => {
                if let Err(failed) = cell::make(self.order.spec, id, self.order.socket) {
                    self.order.tell_failed(Some(id), failed);
                }
                sys::leave(0)
            }
            Side::Parent(child) => {
                self.starters.insert(child);
                Ok(())
            }
        }
    }

    fn mark(&mut self, id: u64, process: i32) -> Done {
        let answer = Answer::Marked { id };
        let Some(mark) = self.order.mark.and_then(|mark| mark.make_worker(process)) else {
            self.order.tell(&answer, &[]);
            return Ok(());
        };
        let (ours, theirs) = wire::pair().at("make a pair of sockets")?;
        self.families.push((ours, mark));
        self.order.tell(&answer, &[theirs.as_fd()]);
        Ok(())
    }

    /// Ends what belongs to workers that the server has let go, in the order in which they became such.
    fn end_families(&mut self, let_go: &[bool]) {
        let mut let_go = let_go.iter();
        self.families.retain(|(_, mark)| {
            let is_over = let_go.next().is_some_and(|is_over| *is_over);
            if is_over {
                mark.end();
            }
            !is_over
        });
    }

    fn abort(&mut self, process: i32) -> Done {
        let Some(gvisor) = &self.order.spec.gvisor else { return Ok(()) };
        match sys::fork().at("fork")? {
            Side::Child => {
                gvisor.abort(process, self.order.spec.network);
                sys::leave(127)
            }
            Side::Parent(child) => {
                self.starters.insert(child);
                Ok(())
            }
        }
    }

    /// Takes the status of all children that have ended; orphans of the box are among them.
    fn reap(&mut self) {
        while let Ok(Some((process, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let process = process.as_raw_nonzero().get();
            if self.order.spec.gvisor.is_some() {
                crate::gvisor::clean_after(process);
            }
            if !self.starters.remove(&process) {
                self.order.tell(&Answer::Ended { process, status: status.as_raw() }, &[]);
            }
        }
    }
}
