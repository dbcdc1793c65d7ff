//! The locale of the application: what was asked for, else the one of the
//! terminal, but never the C locale, which breaks names that are not ASCII.

use std::env;

/// The value for `LC_ALL`.
pub(crate) fn choose(option: Option<&str>) -> String {
    let variables = ["LC_ALL", "LC_CTYPE", "LANG"].map(|name| env::var(name).unwrap_or_default());
    pick(option, &variables)
}

fn pick(option: Option<&str>, variables: &[String]) -> String {
    let found = match option {
        Some(name) => name,
        None => variables
            .iter()
            .find(|value| !value.is_empty())
            .map_or("C", String::as_str),
    };
    match found {
        "C" | "POSIX" => "C.UTF-8".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::pick;

    #[test]
    fn the_c_locale_becomes_utf_8() {
        let none = [String::new(), String::new(), String::new()];
        assert_eq!(pick(None, &none), "C.UTF-8");
        assert_eq!(pick(Some("POSIX"), &none), "C.UTF-8");
        assert_eq!(
            pick(None, &[String::new(), "de_DE.UTF-8".into(), "C".into()]),
            "de_DE.UTF-8"
        );
        assert_eq!(pick(Some("fr_FR.UTF-8"), &none), "fr_FR.UTF-8");
    }
}
