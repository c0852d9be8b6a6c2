//! Sockets of this machine and of the box that have names and no addresses.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn paths_of_sockets_mean_what_they_mean_in_the_box() {
    let folder = tempfile::tempdir().unwrap();
    let code = r#"
import threading
os.makedirs(f"{folder}/jail/run/job")
servers = {}
def serve(name, address):
    server = socket.socket(socket.AF_UNIX)
    server.bind(address)
    server.listen()
    def answer():
        while True:
            client, _ = server.accept()
            _, user, group = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            client.sendall(f"{name} to {user} {group}".encode())
            client.close()
    threading.Thread(target=answer, daemon=True).start()
serve("inside", f"{folder}/jail/run/socket")
serve("outside", f"{folder}/socket")
serve("abstract", "\0name")
os.symlink("../socket", f"{folder}/jail/relative")
os.symlink(f"{folder}/socket", f"{folder}/jail/absolute")
os.symlink("/run/socket", f"{folder}/jail/run/job/link")
open(f"{folder}/jail/file", "w").close()
def ask(address):
    with socket.socket(socket.AF_UNIX) as client:
        result = attempt(client.connect, address)
        return client.recv(100).decode() if result == "OK" else result
print(ask(f"{folder}/socket"))
os.chroot(f"{folder}/jail")
os.chdir("/run/job")
for address in ["/run/socket", "../socket", "../../../../run/socket", "link", "/run/job/link", b"\0name"]:
    print(ask(address))
for address in [f"{folder}/socket", "/../socket", "../../../socket", "/relative", "/absolute", b"\0other", "/file"]:
    print(ask(address))
with socket.socket(socket.AF_UNIX) as client:
    client.setblocking(False)
    print(attempt(client.connect, "/run/socket"))
"#;
    let folder_text = format!("\"{}\"", folder.path().display());
    let Some(done) = run(only(&[]), code, &[("folder", folder_text)]).await else { return };
    let mut expected = vec!["outside to 0 0"];
    expected.extend(["inside to 0 0"; 5]);
    expected.extend([
        "abstract to 0 0",
        "ENOENT",
        "ENOENT",
        "ENOENT",
        "ENOENT",
        "ENOENT",
        "ECONNREFUSED",
        "ECONNREFUSED",
        "OK",
    ]);
    assert_eq!(done.said, expected);
}

/// As a box has it: a root of its own, and a tree of mounts that the server does not see.
#[tokio::test(flavor = "multi_thread")]
async fn paths_of_sockets_mean_what_they_mean_in_a_tree_of_mounts() {
    let folder = tempfile::tempdir().unwrap();
    let code = r#"
def mount(source, place, kind, flags):
    check(libc.mount(source, place.encode(), kind, flags, None), "mount")
check(libc.unshare(0x20000), "unshare")
mount(b"none", "/", None, 0x4000 | 0x40000)  # private, and all below it
mount(b"none", folder, b"tmpfs", 0)
os.mkdir(f"{folder}/old")
os.mkdir(f"{folder}/job")
pivot_root = 155 if platform.machine() == "x86_64" else 41
check(libc.syscall(pivot_root, folder.encode(), f"{folder}/old".encode()), "pivot_root")
os.chdir("/job")
check(libc.umount2(b"/old", 2), "umount2")
mount(b"none", "/job", b"tmpfs", 0)
server = socket.socket(socket.AF_UNIX)
server.bind("/job/socket")
server.listen()
def ask(address):
    with socket.socket(socket.AF_UNIX) as client:
        return attempt(client.connect, address)
print(ask("/job/socket"), ask("socket"), ask("../job/socket"))
os.chdir("/job")
print(ask("/job/socket"), ask("socket"), ask("../job/socket"), ask("../../job/socket"), ask(f"{folder}/job/socket"))
"#;
    let folder_text = format!("\"{}\"", folder.path().display());
    let Some(done) = run(only(&[]), code, &[("folder", folder_text)]).await else { return };
    if done.said[0].starts_with("SKIPPED") {
        eprintln!("skipped, as there can be no mounts here: {:?}", done.said);
        return;
    }
    // The first working directory is below a mount, where no path leads any more, so nothing is found from there.
    assert_eq!(done.said, ["OK ENOENT ENOENT", "OK OK OK OK ENOENT"]);
}

/// A server on a Unix socket that takes its time is waited for, by those who wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_of_a_unix_socket_is_waited_for() {
    let code = r#"
import threading
server = socket.socket(socket.AF_UNIX)
server.bind("\0queue")
server.listen(0)
clients = [socket.socket(socket.AF_UNIX) for _ in range(40)]
clients[0].connect("\0queue")
results = []
threads = [threading.Thread(target=lambda client=client: results.append(attempt(client.connect, "\0queue"))) for client in clients[1:]]
for thread in threads:
    thread.start()
hurried = socket.socket(socket.AF_UNIX)
hurried.setblocking(False)
print(attempt(hurried.connect, "\0queue"))
limited = socket.socket(socket.AF_UNIX)
limited.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 0, 20_000))
print(attempt(limited.connect, "\0queue"))
accepted = [server.accept() for _ in clients]
for thread in threads:
    thread.join()
print(set(results), len(results))
"#;
    let Some(done) = run(only(&[]), code, &[]).await else { return };
    assert_eq!(done.said, ["EAGAIN", "EAGAIN", "{'OK'} 39"]);
}

/// T-051: names that are no files' belong to a network namespace too.
#[tokio::test(flavor = "multi_thread")]
async fn t_051_abstract_names_of_this_machine_are_not_the_box_s() {
    use std::os::linux::net::SocketAddrExt as _;
    let name = format!("ingle-test-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let _server = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
    let code = r#"
with socket.socket(socket.AF_UNIX) as client:
    print(attempt(client.connect, "\0" + name))
"#;
    let Some(done) = run(rules(Policy::All), code, &[("name", format!("\"{name}\""))]).await else { return };
    assert_eq!(done.said, ["ECONNREFUSED"]);
}
