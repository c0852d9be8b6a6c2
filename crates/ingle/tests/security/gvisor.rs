//! What comes out otherwise on a kernel of gVisor than in a box, and why that is no way out: everything that is said here
//! was looked at one by one. What is not here has to fail there as it does in a box.

use serde_json::{Value, json};

use crate::stage::{Class, Stage};

/// Attempts of one attack that succeed there.
struct Own {
    attack: &'static str,
    attempts: &'static [&'static str],
    why: &'static str,
}

const OWN: &[Own] = &[
    Own {
        attack: "host_files/host",
        attempts: &["/sys/fs/cgroup", "/sys/kernel"],
        why: "folders of gVisor's own, with nothing in them",
    },
    Own {
        attack: "host_files/change",
        attempts: &["/dev/attack"],
        why: "`/dev` is gVisor's own, in the memory of its worker, and goes with it",
    },
    Own {
        attack: "kernel_calls/calls",
        attempts: &[
            "addresses that are not random",
            "clone cgroup",
            "clone mnt",
            "clone user",
            "io_uring_setup",
            "mq_open",
            "name_to_handle_at",
            "open_by_handle_at",
            "perf_event_open",
            "ptrace",
            "setns",
            "unshare",
            "unshare cgroup",
            "unshare mnt",
            "unshare pid",
            "unshare time",
            "unshare user",
        ],
        why: "gVisor answers these itself, for what runs in it; none of them comes to the machine's kernel",
    },
    Own {
        attack: "kernel_calls/sockets",
        attempts: &["uevent"],
        why: "a socket of gVisor's own, on which nobody ever says anything",
    },
    Own {
        attack: "host_files/rights",
        attempts: &["without seccomp", "user 0"],
        why: "user 0 of gVisor's kernel, without any right there, and nobody on the machine; that kernel takes the filter's place",
    },
    Own {
        attack: "host_files/acting",
        attempts: &[
            "/tmp open 4755",
            "/tmp open 2755",
            "/tmp open 6777",
            "/tmp chmod 4755",
            "/tmp chmod 2755",
            "/tmp chmod 6777",
            "/tmp mknod 4755",
            "/tmp mknod 2755",
            "/tmp mknod 6777",
            "/tmp device",
            "/dev/shm open 4755",
            "/dev/shm open 2755",
            "/dev/shm open 6777",
            "/dev/shm chmod 4755",
            "/dev/shm chmod 2755",
            "/dev/shm chmod 6777",
            "/dev/shm mknod 4755",
            "/dev/shm mknod 2755",
            "/dev/shm mknod 6777",
            "/dev/shm device",
            "act through /usr/bin/su",
            "act through /usr/bin/passwd",
            "act through /usr/bin/mount",
            "act through /usr/bin/newgrp",
            "act through /usr/bin/chsh",
            "become root",
            "become root's group",
        ],
        why: "in folders in the memory of its worker, and as user 0 of gVisor's kernel, which has no rights to give; the folder \
              on the disk refuses",
    },
];

/// What succeeded of what may succeed there, and why it may. `None`: the same counts as in a box.
pub(crate) fn answered(class: Class, attack: &str, answer: &Value) -> Option<(String, &'static str)> {
    if class != Class::Gvisor {
        return None;
    }
    let own = OWN.iter().find(|own| own.attack == attack)?;
    let got: Vec<&str> = answer["got"].as_object()?.keys().map(String::as_str).collect();
    let is_known = got.iter().all(|name| own.attempts.contains(name));
    (is_known && !got.is_empty()).then(|| (format!("possible: {}", got.join(", ")), own.why))
}

/// A bomb that ends the kernel in which it goes off, and nobody else.
pub(crate) fn ends_alone(stage: &mut Stage, (id, what): (&'static str, &str), (app, bomb): (&str, &str)) {
    const WHY: &str = "gVisor needs threads and memory of the machine for each of them, within the limits of its worker; when \
                       these are reached, or the time is, the worker ends";
    let ended = stage.beside_the_neighbour(what, |stage| stage.call(app, bomb, &json!({})));
    let text = ended.text();
    let is_told = ["E0302", "E0303", "E0314"].iter().any(|code| text.contains(code));
    assert!(ended.status >= 500 && is_told, "{bomb}: {} {text}", ended.status);
    stage.works();
    stage.differs(id, what, "ends alone", WHY);
}
