//! Azurite, the emulator of Azure Storage, and Azure's own Python clients for the tests that talk to it.

use std::path::Path;

use super::{environment_with, npm};
use crate::interpreters::Interpreter;

/// A version that the tests have been run with.
const PACKAGE: &str = "azurite@3.35.0";
const CLIENTS: [&str; 3] =
    ["azure-storage-queue>=12,<13", "azure-storage-blob>=12,<13", "azure-data-tables>=12,<13"];

/// Installs both under cargo's target folder, or finds them ready. What is missing and can't be had is returned.
///
/// # Errors
/// If npm or pip is there and fails.
pub(super) fn install(root: &Path, default: &Interpreter) -> anyhow::Result<Option<String>> {
    if npm::install(root, "azurite", &[PACKAGE])?.is_none() {
        return Ok(Some("Azurite, as there is no npm: stories about accounts fail".to_owned()));
    }
    environment_with(root, default, "storage", &CLIENTS)?;
    Ok(None)
}
