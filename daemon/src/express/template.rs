//! Fills in the templates of `conf/start-server`. Called by `render`; knows nothing
//! of what is in them. A string gets into the text through one of the filters
//! below and in no other way, and a name that is not known is an error, so that a
//! template can neither lose a setting nor let a value out of its word.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value};
use serde::Serialize;

use super::quoting::{httpd_value, httpd_word, shell_word};

/// Fills in a template.
pub(crate) fn fill(name: &str, template: &str, values: &impl Serialize) -> Result<String, Error> {
    // What cannot be written as text, a path that is not UTF-8 for instance, would count
    // as absent in a condition.
    let values = serde_json::to_value(values)
        .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(
        SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .keep_trailing_newline(true)
            .build()?,
    );
    environment.set_formatter(write_value);
    environment.add_filter("httpd", |value: &Value| quoted(value, httpd_word));
    environment.add_filter("httpd_value", |value: &Value| quoted(value, httpd_value));
    environment.add_filter("shell", |value: &Value| quoted(value, shell_word));
    environment.add_filter("words", words);
    environment.add_filter("batch", minijinja::filters::batch);
    environment.add_filter("capitalize", minijinja::filters::capitalize);
    environment.add_filter("join", minijinja::filters::join);
    environment.add_test("none", minijinja::tests::is_none);
    environment.render_named_str(name, template, Serde(values))
}

/// Writes numbers, and strings that a filter has quoted.
fn write_value(out: &mut Output<'_>, _: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let written = match value.kind() {
        ValueKind::String if value.is_safe() => write!(out, "{value}"),
        ValueKind::Number if value.is_integer() => write!(out, "{value}"),
        ValueKind::Number => write!(out, "{}", f64::try_from(value.clone())?),
        _ => return Err(refused(format!("`{value:?}` is written without a filter"))),
    };
    written.map_err(|_| Error::from(ErrorKind::WriteFailure))
}

fn quoted(value: &Value, quote: fn(&str) -> String) -> Result<Value, Error> {
    let text = text(value)?;
    Ok(Value::from_safe_string(quote(&text)))
}

fn words(value: &Value) -> Result<Value, Error> {
    let text = text(value)?;
    if text.contains(['"', '\'', '\\']) {
        let why = format!("value `{text}` contains a quote or a backslash");
        return Err(refused(why));
    }
    Ok(Value::from_safe_string(text))
}

fn text(value: &Value) -> Result<String, Error> {
    if !matches!(value.kind(), ValueKind::String | ValueKind::Number) {
        return Err(refused(format!("`{value:?}` is not a text")));
    }
    let text = value.to_string();
    if text.contains(char::is_control) {
        let why = format!("value {text:?} contains a control character");
        return Err(refused(why));
    }
    Ok(text)
}

fn refused(why: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, why)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filled(template: &str) -> Result<String, String> {
        let values = json!({ "name": "it's \"x\" \\", "lines": "a\nServerName b", "none": null, "part": 2.0 });
        fill("test", template, &values).map_err(|error| error.to_string())
    }

    #[test]
    fn a_string_needs_a_filter_and_a_number_none() {
        let text = filled("{{ name | httpd }} {{ name | shell }} {{ 1 }} {{ part }} {{ 1.5 }}\n");
        assert_eq!(
            text.unwrap(),
            "\"it's \\\"x\\\" \\\\\" 'it'\\''s \"x\" \\' 1 2 1.5\n"
        );
        for template in [
            "{{ name }}",
            "{{ 'x' }}",
            "{{ none }}",
            "{{ name | safe }}",
            "{{ name | httpd ~ name }}",
        ] {
            filled(template).expect_err(template);
        }
    }

    #[test]
    fn mistakes_are_found() {
        for template in [
            "{{ nam | httpd }}",
            "{% if nam %}{% endif %}",
            "{{ none | httpd }}",
            "{% if name %}",
        ] {
            filled(template).expect_err(template);
        }
        for filter in ["httpd", "httpd_value", "shell", "words"] {
            let template = format!("{{{{ lines | {filter} }}}}");
            assert!(
                filled(&template).unwrap_err().contains("control character"),
                "{filter}"
            );
        }
        assert!(
            filled("{{ name | words }}")
                .unwrap_err()
                .contains("a quote or a backslash")
        );
    }
}
