//! What a directive works in and may change, and what it may say. Made by
//! `entry/commands.rs` for each directive.

use std::ffi::CStr;
use std::fmt::Display;

use crate::apr::pool::AprPool;
use crate::configuration::config::{DirConfig, ServerConfig};
use crate::configuration::report;
use crate::configuration::settings::{self, Sighting, Subject};
use crate::httpd::server::Server;
use crate::httpd::tree;
use crate::log_ids::LogLine;

/// What a directive may change.
pub(crate) struct Context<'c, 'p> {
    /// Its name as the table has it.
    pub(crate) name: &'static str,
    pub(crate) origin: String,
    pub(crate) pool: AprPool<'p>,
    pub(crate) dir: &'c mut DirConfig<'p>,
    pub(crate) server_config: &'c mut ServerConfig<'p>,
    pub(crate) server: Server<'p>,
    /// Whether `.htaccess` says it: read for a request, in a child, and perhaps
    /// a tenant's word.
    pub(crate) in_htaccess: bool,
}

impl<'p> Context<'_, 'p> {
    /// A text that lives as long as what the directive configures.
    pub(crate) fn string(&self, text: &str) -> &'p CStr {
        self.pool.string(text.as_bytes())
    }

    /// `file:line` if that is in `.htaccess`.
    pub(crate) fn htaccess(&self) -> Option<&'p CStr> {
        self.in_htaccess.then(|| self.string(&self.origin))
    }

    /// A path as httpd makes it absolute.
    pub(crate) fn path(&self, word: &str) -> Result<&'p CStr, String> {
        tree::absolute(self.pool, self.string(word))
            .ok_or_else(|| format!("`{word}` is not a path"))
    }

    /// Adds a value to a list of the record.
    pub(crate) fn append<T: Copy>(&self, list: Option<&'p [T]>, value: T) -> Option<&'p [T]> {
        Some(self.pool.concat(list.unwrap_or_default(), &[value]))
    }

    /// Refuses a part of the directive: in a report the rest of it still counts.
    pub(crate) fn refuse(&self, text: String) -> Applied {
        if report::collect(&self.origin, &format!("{}: {text}", self.name)) {
            Ok(())
        } else {
            Err(text)
        }
    }

    /// Says that what the directive asks for does not work; all else is not touched.
    pub(crate) fn problem(&self, line: LogLine, text: impl Display) {
        settings::problem(line, &self.origin, format!("{}: {text}", self.name));
    }

    /// Remembers where a directive stands whose partner may be missing.
    pub(crate) fn note(&self, subject: Subject) {
        if !self.in_htaccess {
            let sighting = Sighting {
                subject,
                section: std::ptr::from_ref(&*self.dir).addr(),
                server: self.server.id(),
                origin: self.origin.clone(),
            };
            settings::with(|settings| settings.sightings.push(sighting));
        }
    }
}

/// A wrong directive, in words.
pub(crate) type Applied = Result<(), String>;
