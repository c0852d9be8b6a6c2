//! `ingle doctor`: is this machine fit to serve, and what would mend it?

use std::net::TcpListener;
use std::path::Path;

use serde_json::json;

use ingle_sandbox::boxes::Protection;

use crate::cli::{AppArguments, DoctorArguments};
use crate::exit::{CommandError, MACHINE};
use crate::printer::{Color, Style, write_out};
use crate::surroundings::Surroundings;

const DISK_BYTES_WARN: u64 = 1 << 30;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    Note,
    Bad,
}

/// One thing that was looked at.
struct Finding {
    name: &'static str,
    verdict: Verdict,
    detail: String,
    fix: Option<String>,
}

impl Finding {
    fn good(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Good, detail: detail.into(), fix: None }
    }

    fn note(name: &'static str, detail: impl Into<String>, fix: &str) -> Self {
        Self { name, verdict: Verdict::Note, detail: detail.into(), fix: Some(fix.to_owned()) }
    }

    fn bad(name: &'static str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Bad, detail: detail.into(), fix: Some(fix.into()) }
    }
}

pub(crate) async fn run(
    arguments: &DoctorArguments,
    surroundings: &Surroundings,
    style: Style,
) -> Result<u8, CommandError> {
    if arguments.security {
        let findings = security(surroundings).await;
        show(&findings, style);
        return Ok(0);
    }
    let mut findings = interpreters(&arguments.app, surroundings);
    findings.push(installer(surroundings));
    findings.push(writable("cache", &surroundings.cache));
    findings.push(disk(&surroundings.cache));
    findings.push(port());
    findings.push(kernel());
    show(&findings, style);
    let bad = findings.iter().any(|finding| finding.verdict == Verdict::Bad);
    Ok(if bad { MACHINE } else { 0 })
}

fn show(findings: &[Finding], style: Style) {
    let width = findings.iter().map(|finding| finding.name.len()).max().unwrap_or(0);
    for finding in findings {
        let (word, color) = match finding.verdict {
            Verdict::Good => ("good", Color::Green),
            Verdict::Note => ("note", Color::Yellow),
            Verdict::Bad => ("bad", Color::Red),
        };
        if style.json {
            let shown =
                json!({"check": finding.name, "verdict": word, "detail": finding.detail, "fix": finding.fix});
            write_out(&format!("{shown}\n"));
            continue;
        }
        write_out(&format!(
            "{}  {:width$} {}\n",
            style.paint(color, &format!("{word:4}")),
            finding.name,
            finding.detail
        ));
        if let Some(fix) = &finding.fix {
            write_out(&format!("{:width$}        fix: {fix}\n", ""));
        }
    }
}

/// T-010b: each protection, tried on this machine, and which classes of isolation it makes.
async fn security(surroundings: &Surroundings) -> Vec<Finding> {
    let Some(means) = surroundings.means().await else {
        return vec![Finding::bad("boxes", "the path of this program is not known", "start it by its path")];
    };
    let mut findings: Vec<Finding> = means
        .strength
        .all()
        .map(|(protection, missing)| match missing {
            None => Finding::good(protection.name(), protection.purpose()),
            Some(reason) => {
                let detail = format!("{reason} (else: {})", protection.purpose());
                Finding::note(protection.name(), detail, remedy(protection))
            }
        })
        .collect();
    let lacks: Vec<&str> =
        means.strength.missing_for_strict().map(|(protection, _)| protection.name()).collect();
    findings.push(if lacks.is_empty() {
        Finding::good("strict", "apps with isolation = \"strict\" run here")
    } else {
        Finding::note("strict", format!("refused, for want of {}", lacks.join(", ")), "see above")
    });
    findings
}

/// What a person who may change the machine can do.
fn remedy(protection: Protection) -> &'static str {
    match protection {
        Protection::OwnUser => {
            "start the server as root, which gives each app a user and keeps none of its rights there"
        }
        Protection::UserNamespace
        | Protection::FileView
        | Protection::ProcessNumbers
        | Protection::OwnNetwork => {
            "let users make namespaces: sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, AppArmor's \
             restriction of them; in a container, its own seccomp profile"
        }
        Protection::SystemCalls => "a kernel with CONFIG_SECCOMP_FILTER",
        Protection::Landlock => "a kernel from 5.13 on with landlock in its list of security modules",
        Protection::MemoryLimit | Protection::ProcessorLimit | Protection::ProcessLimit => {
            "start the server as root, or where control groups are delegated: systemd-run --user --scope -p Delegate=yes"
        }
    }
}

fn interpreters(arguments: &AppArguments, surroundings: &Surroundings) -> Vec<Finding> {
    let options = surroundings.read_options(arguments, None);
    let folder = match ingle_apps::read(&arguments.folder, &options) {
        Ok(folder) => folder,
        Err(error) => {
            let detail = format!("no app in '{}': {error}", arguments.folder.display());
            return vec![Finding::note("app", detail, "name the folder of an app: ingle doctor FOLDER")];
        }
    };
    let mut findings = vec![Finding::good("app", format!("{}: {}", folder.name, folder.why))];
    findings.push(match ingle_apps::choose_interpreter(&folder, &options) {
        Ok(interpreter) => {
            let (major, minor, patch) = interpreter.version;
            let path = interpreter.path.display();
            Finding::good("python", format!("{major}.{minor}.{patch} at {path}: {}", interpreter.why))
        }
        Err(error) => Finding::bad("python", error.to_string(), error.hint().unwrap_or_default()),
    });
    findings
}

fn installer(surroundings: &Surroundings) -> Finding {
    let path = surroundings.get("PATH").unwrap_or_default();
    let uv = path.split(':').map(|folder| Path::new(folder).join("uv")).find(|file| file.is_file());
    match uv {
        Some(uv) => Finding::good("installer", format!("uv at {}", uv.display())),
        None => Finding::note(
            "installer",
            "pip; environments are built faster with uv",
            "python3 -m pip install uv",
        ),
    }
}

fn writable(name: &'static str, folder: &Path) -> Finding {
    let probe = folder.join(format!(".probe-{}", std::process::id()));
    let tried = std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&probe, b""))
        .and_then(|()| std::fs::remove_file(&probe));
    match tried {
        Ok(()) => Finding::good(name, folder.display().to_string()),
        Err(error) => {
            let detail = format!("can't write to {}: {error}", folder.display());
            Finding::bad(name, detail, "make it writable, or choose another with --cache")
        }
    }
}

fn disk(folder: &Path) -> Finding {
    match rustix::fs::statvfs(folder) {
        Ok(status) => {
            let free = status.f_bavail.saturating_mul(status.f_frsize);
            let detail = format!("{} MB free", free / 1_000_000);
            if free < DISK_BYTES_WARN {
                Finding::note("disk", detail, "free some space")
            } else {
                Finding::good("disk", detail)
            }
        }
        Err(error) => {
            Finding::note("disk", format!("can't ask: {error}"), "check the disk of the cache folder")
        }
    }
}

fn port() -> Finding {
    match TcpListener::bind(("127.0.0.1", 7071)) {
        Ok(_) => Finding::good("port", "7071 is free"),
        Err(error) => {
            Finding::note("port", format!("7071: {error}"), "end what uses it, or start with --port")
        }
    }
}

fn kernel() -> Finding {
    let name = rustix::system::uname();
    Finding::good(
        "kernel",
        format!("{} {}", name.sysname().to_string_lossy(), name.release().to_string_lossy()),
    )
}
