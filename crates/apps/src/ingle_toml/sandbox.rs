//! `[sandbox]`: how the app is confined.

use std::path::{Component, Path, PathBuf};

use ingle_types::spec::{CpuQuota, Egress, Isolation, SandboxOptions};
use serde::Deserialize;
use toml::Spanned;

use super::{Reader, memory_size};

/// Less than Python and the SDK need.
const MEMORY_MIN: u64 = 32 << 20;
const CPU_MAX: f64 = 1024.0;
const COUNT_MAX: i64 = 1_000_000;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Sandbox {
    isolation: Option<Spanned<String>>,
    egress: Option<Spanned<Destinations>>,
    memory: Option<Spanned<String>>,
    cpu: Option<Spanned<Cpu>>,
    processes: Option<Spanned<i64>>,
    open_files: Option<Spanned<i64>>,
    temporary: Option<Spanned<String>>,
    log: Option<Spanned<String>>,
    response: Option<Spanned<String>>,
    outputs: Option<Spanned<String>>,
    #[serde(default)]
    read: Vec<Spanned<String>>,
    #[serde(default)]
    write: Vec<Spanned<String>>,
    #[serde(default)]
    environment: Vec<Spanned<String>>,
}

#[derive(Deserialize, Clone)]
#[serde(untagged)]
enum Destinations {
    Word(String),
    List(Vec<String>),
}

#[derive(Deserialize, Clone)]
#[serde(untagged)]
enum Cpu {
    Cores(f64),
    Word(String),
}

impl Reader<'_> {
    pub(super) fn sandbox(&mut self, sandbox: Sandbox) -> SandboxOptions {
        "sandbox".clone_into(&mut self.table);
        let size = "\"512MB\" or \"1GB\"";
        SandboxOptions {
            door: None,
            isolation: self.one_of("isolation", sandbox.isolation, &Isolation::ALL),
            egress: sandbox.egress.and_then(|egress| self.egress(&egress)),
            memory: self.converted(
                "memory",
                sandbox.memory,
                |text| memory_size(text).filter(|bytes| *bytes >= MEMORY_MIN),
                "at least \"32MB\"",
            ),
            cpu: sandbox.cpu.and_then(|cpu| self.quota(&cpu)),
            processes: self.amount("processes", sandbox.processes, 8),
            open_files: self.amount("open_files", sandbox.open_files, 64),
            temporary: self.converted("temporary", sandbox.temporary, memory_size, size),
            log_bytes: self.converted("log", sandbox.log, memory_size, size),
            response_bytes: self.converted("response", sandbox.response, memory_size, size),
            outputs_bytes: self.converted("outputs", sandbox.outputs, memory_size, size),
            read: self.paths("read", sandbox.read),
            write: self.paths("write", sandbox.write),
            environment: sandbox.environment.into_iter().map(Spanned::into_inner).collect(),
        }
    }

    fn egress(&mut self, egress: &Spanned<Destinations>) -> Option<Egress> {
        let offset = egress.span().start;
        match egress.get_ref() {
            Destinations::Word(word) if word == "all" => Some(Egress::All),
            Destinations::Word(word) if word == "none" => Some(Egress::None),
            Destinations::Word(word) => {
                self.wrong(
                    "egress",
                    offset,
                    &format!("{word:?}"),
                    "\"all\", \"none\" or a list of \"host:port\"",
                );
                None
            }
            Destinations::List(listed) => {
                for target in listed {
                    if let Err(reason) = ingle_sandbox::egress::policy::Target::parse(target) {
                        self.wrong("egress", offset, &format!("{target:?}: {reason}"), "\"host:port\"");
                    }
                }
                Some(Egress::Only(listed.clone()))
            }
        }
    }

    fn quota(&mut self, cpu: &Spanned<Cpu>) -> Option<CpuQuota> {
        let found = match cpu.get_ref() {
            Cpu::Cores(cores) if (0.01..=CPU_MAX).contains(cores) => return Some(CpuQuota::Cores(*cores)),
            Cpu::Word(word) if word == "memory" => return Some(CpuQuota::OfMemory),
            Cpu::Cores(cores) => cores.to_string(),
            Cpu::Word(word) => format!("{word:?}"),
        };
        let wanted = "a number of cores from 0.01 on, or \"memory\" for a part of one in proportion to it";
        self.wrong("cpu", cpu.span().start, &found, wanted);
        None
    }

    fn amount(&mut self, key: &str, value: Option<Spanned<i64>>, least: i64) -> Option<u64> {
        let value = value?;
        let number = *value.get_ref();
        if (least..=COUNT_MAX).contains(&number) {
            return u64::try_from(number).ok();
        }
        let allowed = format!("a whole number from {least} to {COUNT_MAX}");
        self.wrong(key, value.span().start, &number.to_string(), &allowed);
        None
    }

    fn paths(&mut self, key: &str, values: Vec<Spanned<String>>) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        for value in values {
            let path = PathBuf::from(value.get_ref());
            let leads_out = path.components().any(|part| part == Component::ParentDir);
            if !path.as_os_str().is_empty() && path != Path::new("/") && !leads_out {
                paths.push(path);
            } else {
                let found = format!("{:?}", value.get_ref());
                self.wrong(
                    key,
                    value.span().start,
                    &found,
                    "paths of folders or files, absolute or below the app's folder",
                );
            }
        }
        paths
    }
}
