//! While the server serves: files change, keys are pressed, signals come.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ingle_control::watch::{Extra, Watch};
use ingle_types::spec::HostConfig;

use crate::app::App;
use crate::commands::start::{Signals, drain, progress};
use crate::exit::{INTERRUPTED, warn};
use crate::hot_keys::HotKeys;
use crate::keys::{Key, Keys, Typed};
use crate::printer::{Printer, Style, of_app};
use crate::screen;
use crate::server::Server;
use crate::surroundings::Surroundings;

/// Files in which log levels are set; a change of nothing else there takes no new generation.
const SETTINGS: [&str; 2] = ["host.json", "local.settings.json"];

/// What can happen while the server serves.
enum Happening {
    Changed(BTreeSet<PathBuf>),
    Typed(Typed),
    Stop,
}

/// Serves until a signal or `q`, reloading when files change; then drains. A second signal ends the program at once.
pub(crate) async fn serve(
    server: Server,
    app: Arc<App>,
    mut watched: Option<Watch>,
    mut signals: Signals,
    surroundings: &Surroundings,
    (printer, style): (&Printer, Style),
) -> u8 {
    let mut keys = Keys::listen(style);
    let mut hot_keys = HotKeys::new(printer, surroundings, app.state_folder());
    loop {
        if let (Some(watch), Some(current)) = (&mut watched, app.control.current()) {
            watch.set_extra(extra(&current.app.host));
        }
        let changed = async {
            match &mut watched {
                Some(watch) => watch.changed().await,
                None => std::future::pending().await,
            }
        };
        let happening = tokio::select! {
            () = signals.next() => Happening::Stop,
            typed = keys.next() => Happening::Typed(typed),
            files = changed => match files {
                Some(files) => Happening::Changed(files),
                None => continue,
            },
        };
        match happening {
            Happening::Stop | Happening::Typed(Typed::Key(Key::Quit)) => break,
            Happening::Changed(files) => changed_files(&app, &files, style, printer).await,
            Happening::Typed(Typed::Key(Key::Reload)) => {
                changed_files(&app, &BTreeSet::new(), style, printer).await;
            }
            Happening::Typed(typed) => {
                if hot_keys.take(typed, &app) {
                    keys.ask_line();
                }
            }
        }
    }
    drop((keys, app));
    end(server, signals, (printer, style)).await
}

/// Stops in order; a second signal ends the program at once.
pub(crate) async fn end(server: Server, mut signals: Signals, (printer, style): (&Printer, Style)) -> u8 {
    if !style.json {
        printer.text("stopping: work in hand is finished; Ctrl-C again stops at once".to_owned());
    }
    tokio::select! {
        code = drain(server, style, printer) => code,
        () = signals.next() => {
            warn("stopped at once");
            INTERRUPTED
        }
    }
}

pub(crate) fn extra(host: &HostConfig) -> Extra {
    Extra { files: host.watch_files.clone(), directories: host.watch_directories.clone() }
}

/// Does what the change of these files calls for; without files, somebody has asked for a reload.
pub(crate) async fn changed_files(app: &App, files: &BTreeSet<PathBuf>, style: Style, printer: &Printer) {
    if files.is_empty() {
        return reload(app, &["asked for".to_owned()], style, printer).await;
    }
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let are_settings = files.iter().all(|file| SETTINGS.iter().any(|settings| file == Path::new(settings)));
    if are_settings && app.control.reload_log_levels().await {
        let mut shown = screen::log_levels_json(&app.control.log_levels());
        shown["changed"] = names.into();
        let text = if style.json {
            of_app(shown, printer.app()).to_string()
        } else {
            format!("log levels: {}", screen::log_levels(&shown))
        };
        printer.text(text);
        return;
    }
    reload(app, &names, style, printer).await;
}

async fn reload(app: &App, changed: &[String], style: Style, printer: &Printer) {
    let event = app.reload(&mut progress(style, printer)).await;
    let text = if style.json {
        of_app(screen::reload_json(&event, changed), printer.app()).to_string()
    } else {
        screen::reload(&event, &changed.join(", "), style)
    };
    printer.text(text);
}
