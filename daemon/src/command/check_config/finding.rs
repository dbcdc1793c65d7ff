//! What there is to say about a place in the configuration.

use serde::Serialize;
use wsgid_protocol::report::Remark;

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
    pub(crate) const ALL: [Self; 3] = [Self::Problem, Self::Change, Self::Note];

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

    pub(crate) fn of(kind: FindingKind, remark: &Remark) -> Self {
        Self::new(kind, &remark.origin, remark.text.clone())
    }

    /// The file, and the line in it.
    pub(crate) fn file_and_line(&self) -> (&str, usize) {
        match self
            .origin
            .rsplit_once(':')
            .map(|(file, line)| (file, line.parse()))
        {
            Some((file, Ok(line))) => (file, line),
            _ => ("", 0),
        }
    }
}

/// By file and line; what is said twice is said once.
pub(crate) fn sort(findings: &mut Vec<Finding>) {
    findings.sort_by(|one, other| {
        let first = one.file_and_line();
        let second = other.file_and_line();
        first
            .cmp(&second)
            .then(one.kind.cmp(&other.kind))
            .then_with(|| one.text.cmp(&other.text))
    });
    findings.dedup();
}
