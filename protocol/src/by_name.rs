//! A process group on its way to another process, which may be of another
//! release: its options by name, as texts, and only those that differ from the
//! default. What the receiver does not understand is kept as it came and is a
//! matter of that group alone (`GroupConfig::unread`).

use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::option::{self, GroupConfig, OptionError, Unread};

/// A definition as it travels.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Named {
    name: String,
    origin: String,
    /// Names and values, in the order in which they are to be set.
    options: Vec<(String, String)>,
}

impl Serialize for GroupConfig {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let options = self
            .options()
            .map_err(|error| S::Error::custom(format!("process group `{}`: {error}", self.name)))?;
        Named {
            name: self.name.clone(),
            origin: self.origin.clone(),
            options,
        }
        .serialize(to)
    }
}

impl<'de> Deserialize<'de> for GroupConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Named {
            name,
            origin,
            options,
        } = Named::deserialize(from)?;
        let mut group = Self::new(name, origin);
        for (name, value) in options {
            if let Err(error) = group.set_any(&name, &value) {
                group.unread.push(Unread {
                    name,
                    value,
                    reason: error.to_string(),
                });
            }
        }
        Ok(group)
    }
}

impl GroupConfig {
    /// The options that differ from their default, by name, in an order in which
    /// they can be set on a fresh group; then those that nobody here understands.
    pub fn options(&self) -> Result<Vec<(String, String)>, OptionError> {
        let mut options = Vec::new();
        for row in option::ROWS {
            for text in row.texts(self)? {
                options.push((row.name.to_owned(), text));
            }
        }
        for unread in &self.unread {
            options.push((unread.name.clone(), unread.value.clone()));
        }
        Ok(options)
    }

    /// Why no worker may start with this definition: it says what this release
    /// does not understand.
    pub fn not_understood(&self) -> Option<String> {
        if self.unread.is_empty() {
            return None;
        }
        let reasons = self.unread.iter().map(|unread| unread.reason.as_str());
        Some(format!(
            "{} (this is release {}; bring httpd's module, wsgid and its worker to the same release and restart httpd)",
            reasons.collect::<Vec<_>>().join("; "),
            env!("CARGO_PKG_VERSION")
        ))
    }
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self::new("", "")
    }
}
