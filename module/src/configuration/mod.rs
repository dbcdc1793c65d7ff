//! What httpd's configuration says, for servers, directories and process groups:
//! filled by `directives/`, checked and frozen before children are forked. Knows
//! nothing of requests and workers.

pub(crate) mod check;
pub(crate) mod config;
pub(crate) mod group_options;
pub(crate) mod groups;
pub(crate) mod httpds_user;
pub(crate) mod lookup;
pub(crate) mod names;
pub(crate) mod networks;
pub(crate) mod paths;
pub(crate) mod permitted;
pub(crate) mod report;
pub(crate) mod settings;
pub(crate) mod words;
