//! Azurite, the emulator of Azure Storage, as a process of the test's own: on free ports of this machine, with its data in
//! a folder that is gone afterwards. `cargo xtask setup` installs it, and Azure's own Python clients beside it.

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::machine::{DEADLINE, workspace};
use crate::server::{kill_group, signal};

const SCRIPT: &str = "target/azurite/node_modules/azurite/dist/src/azurite.js";
const PYTHON: &str = "target/venvs/storage/bin/python";
/// The only account is the test's own; its key opens nothing else.
const ACCOUNT: &str = "teststory";
const KEY: &str = "dGhlIGtleSBvZiBhbiBhY2NvdW50IHRoYXQgaXMgdXNlZCBpbiB0ZXN0cyBvbmx5IQ==";

/// Turns `[arguments]` in a script into the three clients: `queues`, `blobs`, `tables`.
const CLIENTS: &str = "\
import sys, json, base64
from azure.storage.queue import QueueServiceClient, BinaryBase64EncodePolicy, BinaryBase64DecodePolicy, TextBase64EncodePolicy, TextBase64DecodePolicy
from azure.storage.blob import BlobServiceClient
from azure.data.tables import TableServiceClient
connection = sys.argv[1]
arguments = sys.argv[2:]
queues = QueueServiceClient.from_connection_string(connection, api_version='2024-08-04')
blobs = BlobServiceClient.from_connection_string(connection, api_version='2024-08-04')
tables = TableServiceClient.from_connection_string(connection)
";

/// A running emulator, or one that was stopped and can be started again on the same ports with the same data.
pub struct Azurite {
    child: Option<Child>,
    /// Of blobs, queues and tables.
    ports: [u16; 3],
    folder: TempDir,
    /// It speaks TLS, with a certificate of its own.
    tls: bool,
}

impl Azurite {
    /// Starts one and waits until it serves.
    ///
    /// # Panics
    /// If it is not installed or does not start.
    #[track_caller]
    pub fn start() -> Self {
        let mut azurite = Self::stopped();
        azurite.restart();
        azurite
    }

    /// As [`Self::start`], with TLS: clients have to trust [`Self::certificate`]. Tokens open it too.
    ///
    /// # Panics
    /// If it is not installed or does not start.
    #[track_caller]
    pub fn start_with_tls() -> Self {
        let mut azurite = Self::stopped();
        azurite.tls = true;
        let (certificate, key) = (azurite.certificate(), azurite.key());
        let paths = [&certificate, &key].map(|path| path.display().to_string());
        run(CERTIFICATE, &[&paths[0], &paths[1]]);
        azurite.restart();
        azurite
    }

    /// Its certificate, in PEM.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    /// One that does not run yet, with ports that nobody listens on.
    ///
    /// # Panics
    /// If there is no folder or port for it.
    #[track_caller]
    pub fn stopped() -> Self {
        let folder = tempfile::Builder::new().prefix("azurite-").tempdir();
        let folder = folder.unwrap_or_else(|error| panic!("no folder for Azurite: {error}"));
        Self { child: None, ports: free_ports(), folder, tls: false }
    }

    /// Starts it once more, on the same ports and with the data that it had.
    ///
    /// # Panics
    /// If it is not installed or does not start.
    #[track_caller]
    pub fn restart(&mut self) {
        let script = workspace().join(SCRIPT);
        assert!(script.is_file(), "Azurite is not installed: run `cargo xtask setup`");
        let [blobs, queues, tables] = self.ports.map(|port| port.to_string());
        let log = std::fs::File::create(self.log());
        let log = log.unwrap_or_else(|error| panic!("no log for Azurite: {error}"));
        let mut command = Command::new("node");
        command.arg(script).arg("--location").arg(self.folder.path());
        command.args(["--blobPort", &blobs, "--queuePort", &queues, "--tablePort", &tables]);
        command.args(["--disableTelemetry", "--silent", "--disableProductStyleUrl"]);
        if self.tls {
            command.arg("--cert").arg(self.certificate()).arg("--key").arg(self.key());
            command.args(["--oauth", "basic"]);
        }
        command.env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{KEY}")).process_group(0);
        command.stdin(Stdio::null()).stderr(Stdio::null()).stdout(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("node can't be started: {error}"));
        self.child = Some(child);
        self.wait_until_ready();
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("output")
    }

    #[track_caller]
    fn wait_until_ready(&mut self) {
        let until = Instant::now() + DEADLINE;
        loop {
            let said = std::fs::read_to_string(self.log()).unwrap_or_default();
            if said.matches("successfully listening").count() == self.ports.len() {
                return;
            }
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            assert!(ended.is_none() && Instant::now() < until, "Azurite did not start: {said}");
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// Asks it to end, and waits: what it holds is on disk then.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        signal(child.id(), Signal::TERM);
        let until = Instant::now() + DEADLINE;
        while Instant::now() < until {
            if child.try_wait().ok().flatten().is_some() {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        kill_group(child.id());
        child.wait().ok();
    }

    /// The connection string of its only account.
    pub fn connection(&self) -> String {
        let plain = connection(&self.ports);
        if self.tls { plain.replace("http://", "https://") } else { plain }
    }

    /// Runs a script with Azure's own Python clients: `queues`, `blobs` and `tables` are there, `arguments` too. Gives
    /// what it prints.
    ///
    /// # Panics
    /// If it fails.
    #[track_caller]
    pub fn python(&self, script: &str, arguments: &[&str]) -> String {
        let connection = self.connection();
        let mut all = vec![connection.as_str()];
        all.extend(arguments);
        run(&format!("{CLIENTS}{script}"), &all)
    }

    /// As [`Self::python`], again and again until it prints something.
    ///
    /// # Panics
    /// If it fails, or prints nothing in time.
    #[track_caller]
    pub fn wait_for(&self, script: &str, arguments: &[&str]) -> String {
        let until = Instant::now() + DEADLINE;
        loop {
            let printed = self.python(script, arguments);
            if !printed.is_empty() {
                return printed;
            }
            assert!(Instant::now() < until, "nothing came of\n{script}");
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// Where it keeps its data.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            kill_group(child.id());
            child.wait().ok();
        }
    }
}

/// Makes a certificate for this machine that signs itself.
const CERTIFICATE: &str = "\
import sys, datetime, ipaddress
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
key = ec.generate_private_key(ec.SECP256R1())
name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, 'azurite')])
now = datetime.datetime.now(datetime.timezone.utc)
day = datetime.timedelta(days=1)
made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
made = made.serial_number(x509.random_serial_number()).not_valid_before(now - day).not_valid_after(now + day)
made = made.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address('127.0.0.1'))]), False)
made = made.sign(key, hashes.SHA256())
open(sys.argv[1], 'wb').write(made.public_bytes(serialization.Encoding.PEM))
open(sys.argv[2], 'wb').write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption()))
";

#[track_caller]
fn run(script: &str, arguments: &[&str]) -> String {
    let program = workspace().join(PYTHON);
    assert!(program.is_file(), "Azure's clients are not installed: run `cargo xtask setup`");
    let output = Command::new(program).arg("-c").arg(script).args(arguments).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("Python can't be started: {error}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the script failed: {complaint}\n{script}");
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// The connection string of an account whose services listen on these ports: blobs, queues, tables.
pub fn connection([blobs, queues, tables]: &[u16; 3]) -> String {
    format!(
        "AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint=http://127.0.0.1:{blobs}/{ACCOUNT};\
         QueueEndpoint=http://127.0.0.1:{queues}/{ACCOUNT};TableEndpoint=http://127.0.0.1:{tables}/{ACCOUNT}"
    )
}

/// Ports that were free a moment ago. They are fixed, so that an emulator can come back on them.
#[track_caller]
fn free_ports() -> [u16; 3] {
    let take = || TcpListener::bind(("127.0.0.1", 0)).unwrap_or_else(|error| panic!("no free port: {error}"));
    let taken = [take(), take(), take()];
    taken.map(|listener| listener.local_addr().map_or(0, |address| address.port()))
}
