//! Where attacks are made: one server with the app that attacks, one with little time, one that attacks while it is
//! imported, and their neighbour; and secrets of the host in places where functions could look.

use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::os::unix::fs::{MetadataExt as _, lchown};
use std::path::{Path, PathBuf};
use std::process::Command;

use ingle_testkit::{App, Launch, Python, Request, Response, Server};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gvisor;
use crate::neighbour::{self, Times};
use crate::table::{self, Row};

/// Nobody on most systems; any number would do.
const ORDINARY: u32 = 64_999;
/// Where Debian has gVisor.
const RUNSC: &str = "/usr/bin/runsc";
/// The file of the keys that callers show.
pub(crate) const KEYS: &str = "keys.json";
/// In that file, whatever is so long in quotes is a hash, or the name that was chosen here.
const HASH_LETTERS: usize = 20;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Class {
    Default,
    Strict,
    Gvisor,
}

impl Class {
    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum User {
    Root,
    Ordinary,
}

/// Words that no function may ever find, by where they are.
pub(crate) struct Secrets(Vec<(&'static str, String)>);

impl Secrets {
    pub(crate) fn new() -> Self {
        let word = |place: &str| format!("canary-{place}-{:016x}", RandomState::new().hash_one(place));
        let places = ["environment", "settings", "state", "store", "keys", "file", "folder"];
        Self(places.into_iter().map(|place| (place, word(place))).collect())
    }

    /// Lets an app have a key of callers, and knows from then on what of it nobody may find: its name, its text, and what is
    /// kept of it. The file belongs to whom its folder belongs.
    pub(crate) fn plant_key(&mut self, server: &Server, app: &str) {
        let made = server.call_of(app, &["keys", "create", self.of("keys"), "--json"]).code(0).json();
        self.0.push(("key", made["value"].as_str().unwrap().to_owned()));
        let folder = server.state_folder().join(app);
        let owner = fs::metadata(&folder).unwrap();
        let text = fs::read_to_string(folder.join(KEYS)).unwrap();
        assert!(text.contains(self.of("keys")), "{text}");
        for name in [KEYS, "keys.lock"] {
            lchown(folder.join(name), Some(owner.uid()), Some(owner.gid())).unwrap();
        }
        let quoted = text.split('"').filter(|word| word.len() >= HASH_LETTERS);
        let hashes: Vec<String> = quoted.filter(|word| *word != self.of("keys")).map(str::to_owned).collect();
        assert!(!hashes.is_empty(), "{text}");
        self.0.extend(hashes.into_iter().map(|hash| ("hash", hash)));
    }

    pub(crate) fn of(&self, place: &str) -> &str {
        self.0.iter().find(|(known, _)| *known == place).map_or("", |(_, word)| word)
    }

    /// All that must not be printed. A folder is named by the server when it says which apps it serves.
    pub(crate) fn unspeakable(&self) -> impl Iterator<Item = &(&'static str, String)> {
        self.0.iter().filter(|(place, _)| *place != "folder")
    }

    /// In two parts each, so that who looks for a word does not have it.
    pub(crate) fn halves(&self) -> Vec<(&str, &str)> {
        self.0.iter().map(|(_, word)| word.split_at(word.len() - 10)).collect()
    }
}

pub(crate) struct Stage {
    pub(crate) server: Server,
    pub(crate) secrets: Secrets,
    pub(crate) class: Class,
    pub(crate) user: User,
    /// Whether each worker has limits, for which the machine must have control groups.
    pub(crate) has_limits: bool,
    rest: Times,
    rows: Vec<Row>,
    _python: TempDir,
}

/// An interpreter that every user of the machine may read, with `azure-functions`.
#[expect(clippy::disallowed_methods, reason = "what is confined is started by the server, not this")]
pub(crate) fn python_for_all() -> (TempDir, Python) {
    let known = Python::any();
    let folder = tempfile::Builder::new().prefix("ingle-python-").tempdir().unwrap();
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let venv = folder.path().join("venv");
    let base = Some(PathBuf::from("/usr/bin/python3")).filter(|path| path.exists());
    let base = base.unwrap_or_else(|| known.program.clone());
    let made = Command::new(base).args(["-m", "venv", "--without-pip"]).arg(&venv).status().unwrap();
    assert!(made.success(), "no virtual environment");
    let program = venv.join("bin/python");
    let packages = |python: &Path| {
        let text = "import sysconfig; print(sysconfig.get_path('purelib'))";
        let output = Command::new(python).args(["-c", text]).output().unwrap();
        PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
    };
    for name in ["azure", "werkzeug", "markupsafe"] {
        copy(&packages(&known.program).join(name), &packages(&program).join(name));
    }
    (folder, Python { program, ..known })
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        fs::read_dir(from)
            .unwrap()
            .flatten()
            .for_each(|entry| copy(&entry.path(), &to.join(entry.file_name())));
    } else if from.is_file() {
        fs::copy(from, to).unwrap();
    }
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The server before it is started, with all of its apps.
pub(crate) fn launch(python: &Python, secrets: &Secrets) -> Launch {
    let attacker = App::folder("tests/security/attacker");
    // Enough to make daemons first, also under gVisor and on a machine that has more to do.
    let hurried = attacker.clone().host(&json!({"version": "2.0", "functionTimeout": "00:00:03"}));
    let neighbour =
        App::folder("tests/security/neighbour").settings(&json!({"PASSWORD": secrets.of("settings")}));
    let launch = attacker.launch(python).beside("hurried", &hurried);
    let launch = launch.beside(secrets.of("folder"), &neighbour);
    fs::write(launch.folder().with_file_name("planted.txt"), secrets.of("file")).unwrap();
    launch
        .variable("DATABASE_PASSWORD", secrets.of("environment"))
        // Workers that break the protocol are an error of ours, or an attack.
        .may_complain("broke the protocol")
}

impl Stage {
    /// The stage, unless the machine can't have it: then that is told, and refused as it should be.
    pub(crate) fn set(class: Class, user: User) -> Option<Self> {
        if !is_root() && (user, class) != (User::Ordinary, Class::Default) {
            skip("only root can start servers as others");
            return None;
        }
        let (folder, python) = python_for_all();
        if class == Class::Gvisor && !Path::new(RUNSC).is_file() {
            skip(&format!("there is no {RUNSC} on this machine"));
            return None;
        }
        let mut secrets = Secrets::new();
        let mut launch = launch(&python, &secrets);
        // Of gVisor's workers none imports for others, which is what this app is about.
        if class != Class::Gvisor {
            launch = launch.beside("eager", &App::folder("tests/security/eager"));
        }
        if is_root() && user == User::Ordinary {
            launch = launch.user(ORDINARY);
        }
        if class != Class::Default {
            launch = launch.argument("--isolation").argument(&class.name());
        }
        let server = launch.begin();
        let first =
            server.wait_for("ready or refused", |event| event["event"] != "log" && event["app"] == "app");
        if refused_as_it_should(&first, class, user) {
            drop(server);
            return None;
        }
        let missing = first["isolation"]["missing"].as_array().unwrap();
        let lacks = |part: &str| missing.iter().any(|one| one["protection"] == part);
        let has_limits = !lacks("memory limit") && !lacks("process limit");
        assert!(!lacks("file view") && !lacks("system calls"), "{first}");
        let server = server.wait_until_it_serves();
        let state = server.state_folder();
        fs::write(state.join(secrets.of("folder")).join("planted.txt"), secrets.of("state")).unwrap();
        fs::write(state.join("app/planted.txt"), secrets.of("store")).unwrap();
        secrets.plant_key(&server, "app");
        let rest = neighbour::at_rest(server.address(), &format!("{}.localhost", secrets.of("folder")));
        Some(Self { server, secrets, class, user, has_limits, rest, rows: Vec::new(), _python: folder })
    }

    /// One function of one of the apps that attack.
    pub(crate) fn call(&self, app: &str, attack: &str, arguments: &Value) -> Response {
        let request = Request::post(&format!("/api/attack/{attack}"), arguments.to_string());
        self.server.send(request.header("host", &format!("{app}.localhost")))
    }

    /// What it answers if nothing hinders it.
    pub(crate) fn answer(&self, attack: &str, arguments: &Value) -> Value {
        self.call("app", attack, arguments).status(200).json()
    }

    pub(crate) fn row(&mut self, id: &'static str, what: &str, result: impl Into<String>) {
        self.push(Row::new(id, what, result));
    }

    /// What comes out otherwise in this class than in a box, and why that is as it should be.
    pub(crate) fn differs(
        &mut self,
        id: &'static str,
        what: &str,
        result: impl Into<String>,
        why: &'static str,
    ) {
        self.push(Row { why, ..Row::new(id, what, result) });
    }

    fn push(&mut self, row: Row) {
        show(&format!("{} | {} | {} | {}", row.id, row.what, row.result, row.why));
        self.rows.push(row);
    }

    /// Tries many things, none of which may succeed but what a kernel of gVisor answers by itself.
    pub(crate) fn tries(&mut self, id: &'static str, what: &str, attack: &str, arguments: &Value) {
        let answer = self.answer(attack, arguments);
        match gvisor::answered(self.class, attack, &answer) {
            Some((result, why)) => self.differs(id, what, result, why),
            None => self.row(id, what, stopped(&answer)),
        }
    }

    /// Lets an app be imported anew, in a box that nobody has used. After many deaths in a row Ingle makes pauses, which
    /// belong to the box of before.
    pub(crate) fn renew(&self, app: &str) {
        let is_reload = |event: &&Value| event["event"] == "reloaded" && event["app"] == app;
        let before = self.server.events().all().iter().filter(is_reload).count();
        let file = self.server.folder_of(app).join("function_app.py");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("{text}# renewed\n")).unwrap();
        self.server.wait_for_many(before + 1, "reloads", |event| is_reload(&event));
    }

    /// T-001: the log has an event of an attempt of this kind.
    pub(crate) fn is_told(&self, refused: &str) {
        self.server.wait_for(&format!("a security event about {refused}"), |event| {
            event["event"] == "security" && event["app"] == "app" && event["refused"] == refused
        });
    }

    /// The app that attacks still works.
    pub(crate) fn works(&self) {
        self.server.events().look_until("an answer of the app that attacks", || {
            let answer = self.server.get_of("app", "/api/pid");
            (answer.status == 200).then_some(())
        });
    }

    /// Does something while the neighbour is called.
    pub(crate) fn beside_the_neighbour<T>(&mut self, what: &str, work: impl FnOnce(&Self) -> T) -> T {
        let host = format!("{}.localhost", self.secrets.of("folder"));
        let (done, mut times) = neighbour::called_during(self.server.address(), &host, || work(self));
        neighbour::tell(what, &mut self.rest, &mut times);
        done
    }

    /// The process from which workers of an app are forked; null if there is none.
    pub(crate) fn zygote(&self, app: &str) -> Value {
        self.server.processes_of(app)["zygote"]["processId"].clone()
    }

    /// Processes of this server, of all kinds.
    pub(crate) fn processes(&self) -> Vec<u32> {
        descendants(self.server.process_id())
    }

    /// Nothing that was printed tells a secret; nothing is left; and the table tells what was found.
    pub(crate) fn end(mut self) {
        let marked = crate::ending::mark();
        self.call("app", "survivors/daemons", &json!({"mark": marked, "named": 4}));
        let before = self.processes();
        let ended = self.server.stop();
        assert_eq!(ended.code, Some(0));
        let left = crate::ending::wait_until_gone(&marked);
        assert!(left.is_empty(), "processes are left behind by the server: {left:?}");
        let left = crate::ending::wait_until_ended(&before);
        let result = if left.is_empty() { "stopped".to_owned() } else { format!("REACHED: {left:?}") };
        self.rows.push(Row::new("T-016", "outlive the server", result));
        let printed: Vec<&String> = ended.lines.iter().chain(&ended.stderr).collect();
        let tells = |word: &str| printed.iter().any(|line| line.contains(word));
        let told: Vec<&str> =
            self.secrets.unspeakable().filter(|(_, word)| tells(word)).map(|(place, _)| *place).collect();
        let result = if told.is_empty() { "stopped".to_owned() } else { format!("REACHED: {told:?}") };
        self.rows.push(Row::new("T-050", "secrets in all that the server prints", result));
        let reached: Vec<&Row> = self.rows.iter().filter(|row| row.result.contains("REACHED")).collect();
        assert!(reached.is_empty(), "attacks that succeeded: {reached:#?}");
        table::settle(&heading(self.class, self.user), &self.rows);
        if self.class == Class::Gvisor {
            // The one of the boxes in which the same amounts are written.
            let class = if self.user == User::Root { Class::Strict } else { Class::Default };
            table::compare(&heading(class, self.user), &self.rows);
        }
    }
}

fn heading(class: Class, user: User) -> String {
    let user = if user == User::Root { "root" } else { "an ordinary user" };
    format!("Class {}, as {user}", class.name())
}

/// T-010b: strict isolation is refused where something of it is missing, and what is missing is named.
fn refused_as_it_should(app: &Value, class: Class, user: User) -> bool {
    if app["event"] == "app" {
        let missing = app["isolation"]["missing"].as_array().unwrap();
        // Nobody but root can give each app a user.
        let most = if class == Class::Strict { usize::from(user == User::Ordinary) } else { usize::MAX };
        assert!(missing.len() <= most, "{app}");
        return false;
    }
    let problem = &app["problems"][0];
    assert!(class == Class::Strict && user == User::Ordinary && problem["code"] == "E0622", "{app}");
    let message = problem["message"].as_str().unwrap();
    assert!(message.contains("memory limit (") && message.contains("process limit ("), "{message}");
    true
}

/// `stopped`, or what was reached.
pub(crate) fn stopped(answer: &Value) -> String {
    let got = answer["got"].as_object().unwrap_or_else(|| panic!("no answer of an attack: {answer}"));
    show(&format!("refused: {}", answer["refused"]));
    if got.is_empty() {
        return "stopped".to_owned();
    }
    show(&format!("got: {}", answer["got"]));
    format!("REACHED: {}", got.keys().cloned().collect::<Vec<_>>().join(", "))
}

/// All processes below one.
pub(crate) fn descendants(ancestor: u32) -> Vec<u32> {
    let parent = |number: u32| {
        let text = fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
        text.rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<u32>().ok()
    };
    let numbers = fs::read_dir("/proc").unwrap().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let pairs: Vec<(u32, u32)> = numbers.filter_map(|number| Some((number, parent(number)?))).collect();
    let mut found = vec![ancestor];
    let mut next = 0;
    while let Some(of) = found.get(next).copied() {
        found.extend(pairs.iter().filter(|(_, parent)| *parent == of).map(|(number, _)| *number));
        next += 1;
    }
    found.split_off(1)
}

#[expect(clippy::print_stdout, reason = "whoever reads the test's output must see what was not tested")]
pub(crate) fn skip(why: &str) {
    println!("skipped: {why}");
}

#[expect(clippy::print_stdout, reason = "a failed attack is understood from what was tried before")]
pub(crate) fn show(text: &str) {
    println!("{text}");
}
