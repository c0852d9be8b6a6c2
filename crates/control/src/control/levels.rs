//! Which lines of the log are wanted, while generations come and go.

use ingle_apps::AppFolder;
use ingle_types::log_levels::LogLevels;

use super::{Control, Generation};

impl Control {
    /// If the files differ from those of the current generation in nothing but what is logged, makes that so at once,
    /// without a new generation (S-045); `false` if it takes one.
    pub async fn reload_log_levels(&self) -> bool {
        let _one_at_a_time = self.0.reloading.lock().await;
        let Some(current) = self.current() else { return false };
        let options = &self.0.options;
        let Ok(folder) = ingle_apps::read(&options.folder, &options.read) else { return false };
        if !folder.differs_only_in_logging(&current.prepared.folder) {
            return false;
        }
        let before = options.log_filter.levels();
        self.set_log_levels(&folder);
        self.tell_workers(&current).await;
        before != options.log_filter.levels()
    }

    /// Changes the rules that are put over the app's, for as long as the server runs.
    pub async fn change_log_levels(&self, change: impl FnOnce(&mut LogLevels)) {
        self.0.options.log_filter.change(change);
        let Some(current) = self.current() else { return };
        self.tell_workers(&current).await;
    }

    pub fn log_levels(&self) -> LogLevels {
        self.0.options.log_filter.levels()
    }

    pub(super) fn set_log_levels(&self, folder: &AppFolder) {
        let is_debugging = folder.logs_debug_lines();
        self.0.options.log_filter.change(|levels| levels.set_app(&folder.host.log_levels, is_debugging));
    }

    /// Lines that nobody wants to see need not be made.
    pub(super) async fn tell_workers(&self, generation: &Generation) {
        generation.pool.log_debug_lines(self.log_levels().wants_debug_lines()).await;
    }
}
