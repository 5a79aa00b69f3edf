//! [`Definition`]: a table that is to be created or opened, of timelines or of values.

use super::core::Core;
use crate::backend::TableDescription;
use crate::error::{Error, ErrorKind, Result};
use std::sync::Arc;
use tidelog_engine::{TableKind, TableOptions};

/// A table by its name, and the options that it should have.
pub(super) struct Definition {
    pub(super) core: Arc<Core>,
    pub(super) name: String,
    pub(super) options: TableOptions,
}

impl Definition {
    /// Creates the table. One that is there with the same options is the answer too.
    pub(super) fn create(&self) -> Result<TableDescription> {
        self.core.check_open()?;
        if self.options.ttl_ms == Some(0) {
            return Err(Error::invalid("a time to live below 1 ms"));
        }
        let backend = &self.core.backend;
        if let Some(found) = backend.table(&self.name)? {
            // Also where nothing can be created, in a store that is open for reading only.
            return self.same(found);
        }
        match backend.create_table(&self.name, &self.options) {
            Ok(id) => Ok(TableDescription::new(id, &*self.name, self.options.clone())),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                // Somebody was faster.
                self.same(backend.table(&self.name)?.ok_or(error)?)
            }
            Err(error) => Err(error),
        }
    }

    fn same(&self, found: TableDescription) -> Result<TableDescription> {
        if found.options != self.options {
            let text = format!(
                "table {} exists already with other options: {:?}, not {:?}",
                self.name, found.options, self.options
            );
            return Err(Error::new(ErrorKind::AlreadyExists, text));
        }
        Ok(found)
    }

    /// The table, with whatever options it has but of this kind.
    pub(super) fn open(&self) -> Result<TableDescription> {
        self.core.check_open()?;
        let Some(found) = self.core.backend.table(&self.name)? else {
            let text = format!("not found: table {}, create it first", self.name);
            return Err(Error::new(ErrorKind::NotFound, text));
        };
        if found.options.kind != self.options.kind {
            let what = match self.options.kind {
                TableKind::Timeline => "timelines",
                TableKind::Keyed => "values",
            };
            return Err(Error::invalid(format!("table {} holds no {what}", self.name)));
        }
        Ok(found)
    }

    /// The table with whatever options it has, or a new one with these.
    pub(super) fn create_or_open(&self) -> Result<TableDescription> {
        match self.open() {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            result => return result,
        }
        match self.create() {
            // Somebody was faster.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => self.open(),
            result => result,
        }
    }
}
