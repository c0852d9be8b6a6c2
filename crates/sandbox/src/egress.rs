//! What functions in a box may reach over the network.
//!
//! A box has a network namespace of its own, with nothing in it but `lo`. So by itself it reaches its own servers only.
//! Whatever leaves the box is made by the server: a seccomp filter in the box hands each `connect` and `listen` over
//! to a [`Supervisor`], which asks the [`Rules`], connects in its own namespace and puts the connection into the box
//! under the number of the socket that was to be connected. There is no proxy: bytes go straight to the peer.
//! Names are answered by a [`Relay`] in the box.
//!
//! | look for | in |
//! |---|---|
//! | what may be reached, as values | [`policy`], `place`, `target` |
//! | names and own addresses | `rules`, `names`, [`interfaces`] |
//! | one call from the box, and its answer | `supervisor` |
//! | the kernel's protocol of notifications | `notification` |
//! | memory, sockets and files of the process that called | `caller` |
//! | Unix sockets, and acting with another's rights | `unix` |
//! | names | [`resolver`] |
//!
//! # What the filter has to do
//!
//! The filter is made elsewhere. It must, for each process of the box and before user code runs:
//!
//! - answer `SECCOMP_RET_USER_NOTIF` for `connect` and `listen`, and be installed with
//!   `SECCOMP_FILTER_FLAG_NEW_LISTENER` and `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`: else a signal can interrupt a
//!   call between the moment at which the connection is put in and the answer, and the caller tries again in vain;
//! - refuse `sendto`, `sendmsg` and `sendmmsg` with `MSG_FASTOPEN`, which connect as well;
//! - refuse `io_uring_setup`, which connects past every filter, and calls of other architectures (x32, i386 with its
//!   `socketcall`);
//! - refuse `socket` for families other than Unix, IPv4, IPv6 and netlink: some, such as vsock, know no namespaces.
//!
//! # What the box has to have
//!
//! `lo` that is up, with 127.0.0.53 as an address besides 127.0.0.1: with nothing but 127.0.0.1 the C library thinks
//! that there is no IPv4, and finds no IPv4 address for a program that asks with `AI_ADDRCONFIG`, not even a written
//! one. A UDP socket and a listening TCP socket on 127.0.0.53:53, made in the box and handed to the [`Relay`], which
//! `/etc/resolv.conf` of the box names as its only nameserver, with the search domains of this machine.
//!
//! # What is relied on
//!
//! Processes in the box have no capability in the user namespace of the server, and the server may trace them: it is
//! root, or the user who made the user namespace of the box. The box's view of files has no socket of a server outside
//! that functions may not speak to: paths of Unix sockets are a matter of files, not of networks.
//!
//! # What is refused here
//!
//! `SECCOMP_USER_NOTIF_FLAG_CONTINUE` is never answered, as another thread could change the address, or the socket
//! under the number, between our look and the kernel's. All that is done is done with our copy of the address and our
//! own descriptor of the socket. A socket of the server's namespace is in a box only after it was connected with the
//! policy's consent, or while that is tried; it is never connected again, and never listens.
//!
//! UDP does not leave the box. A UDP socket of the server's namespace could be used with `sendto` to any address, of
//! which the kernel would not ask us.
//!
//! # What differs from a plain kernel
//!
//! A descriptor that was put into an `epoll`, or duplicated, before `connect` stays the unconnected socket of the box
//! there: what is connected is another one, under the same number. An address that the socket was bound to before is
//! not kept. A peer on a Unix socket sees the right user and group, but the server's process number. A path that is
//! relative to a folder to which no path leads any more is not found.
//!
//! A socket of the server's namespace whose connection failed may be bound to a port of this machine, as `bind` is not
//! handed over. It can't listen there, but nobody else can either, until it is closed.

pub mod interfaces;
pub mod policy;
pub mod resolver;

mod caller;
mod names;
mod notification;
mod place;
mod rules;
mod sockets;
mod supervisor;
mod target;
mod unix;

pub use names::{Looking, Lookup};
pub use resolver::Relay;
pub use rules::Rules;
pub use supervisor::{Refused, Supervisor, Transport};
