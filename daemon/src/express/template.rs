//! Fills in the templates of `conf/start-server`. Called by `server_root`; knows
//! nothing of httpd beyond how its configuration quotes a word.
//!
//! A line that begins with `%%` steers: `%% if name`, `%% unless name`,
//! `%% each name` and `%% end`. Elsewhere `{{name}}` is the value as it is,
//! `{{"name"}}` a word for httpd, `{{=name}}` the value of an option
//! (`name=value`) and `{{'name'}}` a word for the shell. A name
//! that is not known is an error, so that a template cannot lose a setting.

use std::collections::BTreeMap;

/// What a name in a template stands for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Flag(bool),
    List(Vec<Scope>),
}

/// Names and their values; the innermost `each` is looked at first.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Scope(BTreeMap<&'static str, Value>);

impl Scope {
    pub(crate) fn text(&mut self, name: &'static str, text: impl ToString) {
        self.0.insert(name, Value::Text(text.to_string()));
    }

    /// Text that may be absent; `%% if` tells.
    pub(crate) fn maybe(&mut self, name: &'static str, text: Option<impl ToString>) {
        self.text(name, text.map(|text| text.to_string()).unwrap_or_default());
    }

    pub(crate) fn flag(&mut self, name: &'static str, flag: bool) {
        self.0.insert(name, Value::Flag(flag));
    }

    pub(crate) fn list(&mut self, name: &'static str, list: Vec<Scope>) {
        self.0.insert(name, Value::List(list));
    }

    /// One scope for each item, with one name in it.
    pub(crate) fn column(
        &mut self,
        list: &'static str,
        name: &'static str,
        items: impl IntoIterator<Item = String>,
    ) {
        let scopes = items.into_iter().map(|item| {
            let mut scope = Self::default();
            scope.text(name, item);
            scope
        });
        self.0.insert(list, Value::List(scopes.collect()));
    }
}

/// Why a template could not be filled in.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error("line {line}: `{name}` is not known")]
    Unknown { line: usize, name: String },
    #[error("line {line}: `{name}` is not of this kind")]
    Kind { line: usize, name: String },
    #[error("line {line}: `%%` sections do not match")]
    Structure { line: usize },
    #[error("value of `{name}` contains a control character")]
    Control { name: String },
}

/// Fills in a template.
pub(crate) fn fill(template: &str, scope: &Scope) -> Result<String, TemplateError> {
    let lines: Vec<(usize, &str)> = template
        .lines()
        .enumerate()
        .map(|(at, line)| (at + 1, line))
        .collect();
    let mut out = String::with_capacity(template.len() * 2);
    section(&lines, &mut vec![scope], &mut out)?;
    Ok(out)
}

fn section(
    lines: &[(usize, &str)],
    scopes: &mut Vec<&Scope>,
    out: &mut String,
) -> Result<(), TemplateError> {
    let mut rest = lines;
    while let Some(((number, line), after)) = rest.split_first() {
        let Some(steering) = line.strip_prefix("%%") else {
            rest = after;
            line_out(*number, line, scopes, out)?;
            continue;
        };
        let mismatch = TemplateError::Structure { line: *number };
        let (word, name) = steering.trim().split_once(' ').ok_or(mismatch)?;
        let length = body_len(after).ok_or(TemplateError::Structure { line: *number })?;
        let (body, remaining) = after.split_at(length);
        rest = remaining.get(1..).unwrap_or_default();
        let value = look_up(*number, name, scopes)?;
        match (word, value) {
            ("if", value) if holds(value) => section(body, scopes, out)?,
            ("unless", value) if !holds(value) => section(body, scopes, out)?,
            ("if" | "unless", _) => {}
            ("each", Value::List(items)) => {
                for item in items {
                    scopes.push(item);
                    section(body, scopes, out)?;
                    scopes.pop();
                }
            }
            _ => {
                return Err(TemplateError::Kind {
                    line: *number,
                    name: name.to_owned(),
                });
            }
        }
    }
    Ok(())
}

/// Number of lines up to the `%% end` that belongs to what began before them.
fn body_len(lines: &[(usize, &str)]) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, (_, line)) in lines.iter().enumerate() {
        match line.strip_prefix("%%").map(str::trim) {
            Some("end") if depth == 0 => return Some(at),
            Some("end") => depth -= 1,
            Some(_) => depth += 1,
            None => {}
        }
    }
    None
}

fn holds(value: &Value) -> bool {
    match value {
        Value::Text(text) => !text.is_empty(),
        Value::Flag(flag) => *flag,
        Value::List(items) => !items.is_empty(),
    }
}

fn look_up<'a>(line: usize, name: &str, scopes: &[&'a Scope]) -> Result<&'a Value, TemplateError> {
    let found = scopes.iter().rev().find_map(|scope| scope.0.get(name));
    found.ok_or_else(|| TemplateError::Unknown {
        line,
        name: name.to_owned(),
    })
}

fn line_out(
    number: usize,
    line: &str,
    scopes: &[&Scope],
    out: &mut String,
) -> Result<(), TemplateError> {
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("{{") {
        let (tag, after) = after
            .split_once("}}")
            .ok_or(TemplateError::Structure { line: number })?;
        let name = tag.trim_matches(['"', '\'', '=']);
        let Value::Text(text) = look_up(number, name, scopes)? else {
            return Err(TemplateError::Kind {
                line: number,
                name: name.to_owned(),
            });
        };
        if text.contains(|c: char| c.is_control()) {
            return Err(TemplateError::Control {
                name: name.to_owned(),
            });
        }
        out.push_str(before);
        match tag.as_bytes().first() {
            Some(b'"') => out.push_str(&httpd_word(text)),
            Some(b'=') => out.push_str(&httpd_value(text)),
            Some(b'\'') => out.push_str(&shell_word(text)),
            _ => out.push_str(text),
        }
        rest = after;
    }
    out.push_str(rest);
    out.push('\n');
    Ok(())
}

/// A word of httpd's configuration, in double quotes.
pub(crate) fn httpd_word(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The value of an option of ours, quoted only where it must be.
pub(crate) fn httpd_value(text: &str) -> String {
    let plain = !text.is_empty() && !text.contains([' ', '"', '\'', '\\', '#']);
    if plain {
        text.to_owned()
    } else {
        httpd_word(text)
    }
}

/// A word for a shell, in single quotes.
pub(crate) fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        let mut scope = Scope::default();
        scope.text("name", "it's \"x\" \\");
        scope.flag("yes", true);
        scope.flag("no", false);
        scope.column("items", "item", ["a".to_owned(), "b".to_owned()]);
        scope
    }

    #[test]
    fn values_are_quoted_for_their_reader() {
        let text = fill("{{name}} {{\"name\"}} {{'name'}}", &scope()).unwrap();
        assert_eq!(
            text,
            "it's \"x\" \\ \"it's \\\"x\\\" \\\\\" 'it'\\''s \"x\" \\'\n"
        );
    }

    #[test]
    fn sections_nest() {
        let template = "%% each items\n%% if yes\n{{item}}\n%% unless yes\nnever\n%% end\n%% end\n%% end\n%% if no\nno\n%% end\nlast";
        assert_eq!(fill(template, &scope()).unwrap(), "a\nb\nlast\n");
    }

    #[test]
    fn mistakes_are_found() {
        assert_eq!(
            fill("{{nam}}", &scope()),
            Err(TemplateError::Unknown {
                line: 1,
                name: "nam".into()
            })
        );
        assert_eq!(
            fill("x\n%% if yes\n", &scope()),
            Err(TemplateError::Structure { line: 2 })
        );
        assert_eq!(
            fill("%% each name\n%% end", &scope()),
            Err(TemplateError::Kind {
                line: 1,
                name: "name".into()
            })
        );
        let mut scope = Scope::default();
        scope.text("name", "a\nServerName b");
        assert_eq!(
            fill("{{name}}", &scope),
            Err(TemplateError::Control {
                name: "name".into()
            })
        );
    }
}
