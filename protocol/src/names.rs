//! Names of process groups that no configuration may use, because they are this
//! project's own. Used by the module and the supervisor.

/// How all of them begin.
const RESERVED: &str = "wsgid:";

/// The group of scripts that no directive puts into one.
pub const DEFAULT_GROUP: &str = "wsgid:default";

/// Under this name the supervisor itself answers, with its status.
pub const STATUS: &str = "wsgid:status";

/// Under this name it takes spans.
pub const SPANS: &str = "wsgid:spans";

/// Whether a configuration may not use the name.
pub fn is_reserved(name: &str) -> bool {
    name.starts_with(RESERVED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_names_are_reserved() {
        assert!(is_reserved(DEFAULT_GROUP) && is_reserved(STATUS) && is_reserved(SPANS));
        assert!(!is_reserved("wsgid") && !is_reserved("shop"));
    }
}
