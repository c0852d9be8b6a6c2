//! A ready zip in place of an app's folder.

use ingle_apps::archive;
use ingle_control::absolute;

use crate::cli::AppArguments;
use crate::exit::CommandError;
use crate::surroundings::Surroundings;

/// Unpacks the zip that is named as an app's folder, if it is one. What is kept of the app is beside the zip then.
pub(crate) fn unpack(app: &mut AppArguments, surroundings: &Surroundings) -> Result<(), CommandError> {
    let zip = absolute(&app.folder);
    if !archive::is_zip(&zip) || !zip.is_file() {
        return Ok(());
    }
    let unpacked = archive::unpack(&zip, &surroundings.cache).map_err(ingle_apps::Error::from);
    let folder = unpacked.map_err(ingle_control::Error::from)?;
    if app.state.is_none() {
        let stem = zip.file_stem().map(std::path::PathBuf::from).unwrap_or_default();
        app.state = Some(zip.with_file_name(".ingle").join(stem));
    }
    app.folder = folder;
    Ok(())
}
