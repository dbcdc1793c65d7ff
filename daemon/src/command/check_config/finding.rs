//! What there is to say about a place in the configuration.

use serde::Serialize;

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FindingKind {
    /// It does not work here.
    Problem,
    /// It works, and means something else.
    Change,
    /// It has no effect, or none that anybody notices.
    Note,
}

impl FindingKind {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Problem => "problem",
            Self::Change => "change",
            Self::Note => "note",
        }
    }
}

/// One thing to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) kind: FindingKind,
    /// `file:line`; empty if it is about the whole.
    pub(crate) origin: String,
    pub(crate) text: String,
}

impl Finding {
    pub(crate) fn new(kind: FindingKind, origin: &str, text: impl Into<String>) -> Self {
        Self {
            kind,
            origin: origin.to_owned(),
            text: text.into(),
        }
    }

    pub(crate) fn change(origin: &str, text: impl Into<String>) -> Self {
        Self::new(FindingKind::Change, origin, text)
    }

    /// The file, and the line in it.
    pub(crate) fn file_and_line(&self) -> (&str, usize) {
        let parts = self.origin.rsplit_once(':');
        parts
            .and_then(|(file, line)| Some((file, line.parse().ok()?)))
            .unwrap_or_default()
    }

    fn order(&self) -> impl Ord {
        (self.file_and_line(), self.kind, &self.text)
    }
}

/// By file and line; what is said twice is said once.
pub(crate) fn sort(findings: &mut Vec<Finding>) {
    findings.sort_by(|one, other| one.order().cmp(&other.order()));
    findings.dedup();
}
