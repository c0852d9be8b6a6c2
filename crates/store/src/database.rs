//! A connection whose statements are cached and whose errors are ours.

use std::path::PathBuf;

use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, Row};

use crate::error::Error;

pub(crate) struct Database {
    pub(crate) connection: Connection,
    path: PathBuf,
    /// For the error: `reading the store`.
    doing: &'static str,
}

impl Database {
    pub(crate) fn new(connection: Connection, path: PathBuf, doing: &'static str) -> Self {
        Self { connection, path, doing }
    }

    pub(crate) fn is_in_transaction(&self) -> bool {
        !self.connection.is_autocommit()
    }

    /// Runs a statement without parameters, such as `COMMIT`.
    pub(crate) fn run(&self, sql: &str) -> Result<(), Error> {
        self.execute(sql, ()).map(drop)
    }

    pub(crate) fn pragma(&self, sql: &str) -> Result<(), Error> {
        self.connection.execute_batch(sql).map_err(|source| self.failed(source))
    }

    /// Runs one statement; answers how many rows it changed.
    pub(crate) fn execute(&self, sql: &str, parameters: impl Params) -> Result<usize, Error> {
        self.statement(sql)?.execute(parameters).map_err(|source| self.failed(source))
    }

    /// The first row, if there is one.
    pub(crate) fn row<T>(
        &self,
        sql: &str,
        parameters: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, Error> {
        self.statement(sql)?.query_row(parameters, read).optional().map_err(|source| self.failed(source))
    }

    pub(crate) fn rows<T>(
        &self,
        sql: &str,
        parameters: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Error> {
        let mut statement = self.statement(sql)?;
        let rows = statement.query_map(parameters, read).map_err(|source| self.failed(source))?;
        rows.collect::<rusqlite::Result<Vec<T>>>().map_err(|source| self.failed(source))
    }

    /// Hands each row to `visit`, which may end the reading with an error of its own.
    pub(crate) fn each(
        &self,
        sql: &str,
        parameters: impl Params,
        mut visit: impl FnMut(&Row<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut statement = self.statement(sql)?;
        let mut rows = statement.query(parameters).map_err(|source| self.failed(source))?;
        while let Some(row) = rows.next().map_err(|source| self.failed(source))? {
            visit(row)?;
        }
        Ok(())
    }

    pub(crate) fn failed(&self, source: rusqlite::Error) -> Error {
        Error::sqlite(&self.path, self.doing, source)
    }

    /// A row's content makes no sense.
    pub(crate) fn corrupt(&self, detail: String) -> Error {
        Error::Corrupt { path: self.path.clone(), detail }
    }

    fn statement(&self, sql: &str) -> Result<CachedStatement<'_>, Error> {
        self.connection.prepare_cached(sql).map_err(|source| self.failed(source))
    }
}
