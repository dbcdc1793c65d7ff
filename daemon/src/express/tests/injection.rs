//! No value that a user gives gets out of its word, in httpd's configuration and in
//! the shell script alike: whatever is in it, the text around it stays the same.

use std::path::{Path, PathBuf};

use clap::Parser;

use super::table::ROWS;
use super::{Line, plan};
use crate::express::plan::ServerPlan;
use crate::express::render::Values;

/// The name of a file in which everything has a meaning somewhere.
const HOSTILE: &str = "x\" y' #z\\ >$(id)`id`;&|\\";

/// What is left of both files when the contents of all quoted words are taken out.
#[derive(Debug, PartialEq)]
struct Shape {
    conf: Vec<Vec<String>>,
    control: String,
}

fn shape(plan: &ServerPlan) -> Result<Shape, String> {
    let values = Values::of(plan).map_err(|error| error.to_string())?;
    let conf = values.httpd_conf().map_err(|error| error.to_string())?;
    let control = values.apachectl().map_err(|error| error.to_string())?;
    assert!(!conf.contains("\\\n"), "a line swallows the next:\n{conf}");
    Ok(Shape {
        conf: conf.lines().map(directive).collect(),
        control: outside_quotes(&control),
    })
}

/// The name of a directive, and for each of its words whether it is there; of a
/// command for a pipe, what a shell sees outside its quotes.
fn directive(line: &str) -> Vec<String> {
    let words = httpd_words(line);
    let mut shape: Vec<String> = words.iter().take(1).cloned().collect();
    for word in words.iter().skip(1) {
        let pipe = word.starts_with('|');
        shape.push(if pipe {
            outside_quotes(word)
        } else {
            String::new()
        });
    }
    shape
}

/// Splits a line as httpd does, and options (`name="value"`) as the module does.
fn httpd_words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start().chars().peekable();
    while rest.peek().is_some() {
        let mut word = String::new();
        let mut quote = rest.next_if(|c| matches!(c, '"' | '\''));
        while let Some(c) = rest.next_if(|c| quote.is_some() || !c.is_whitespace()) {
            if Some(c) == quote {
                break;
            }
            let escaped = quote.is_some() && c == '\\';
            word.push(if escaped { rest.next().unwrap() } else { c });
            if c == '=' && quote.is_none() {
                quote = rest.next_if_eq(&'"');
            }
        }
        words.push(word);
        while rest.next_if(|c| c.is_whitespace()).is_some() {}
    }
    words
}

/// What of a script is outside single quotes.
fn outside_quotes(script: &str) -> String {
    script.replace("'\\''", "").split('\'').step_by(2).collect()
}

fn assert_same(plain: &Shape, hostile: &Shape, what: &str) {
    for (plain, hostile) in plain.conf.iter().zip(&hostile.conf) {
        assert_eq!(plain, hostile, "{what}");
    }
    assert_eq!(plain.conf.len(), hostile.conf.len(), "{what}");
    assert_eq!(plain.control, hostile.control, "{what}");
}

struct Files {
    _place: tempfile::TempDir,
    plain: PathBuf,
    hostile: PathBuf,
}

/// A file or a directory of a plain and of the hostile name.
fn files(make: fn(&Path)) -> Files {
    let place = tempfile::tempdir().unwrap();
    let plain = place.path().join("plain");
    let hostile = place.path().join(HOSTILE);
    make(&plain);
    make(&hostile);
    Files {
        _place: place,
        plain,
        hostile,
    }
}

/// The plan with the options of a command line, without another look for programs.
fn with_options(base: &ServerPlan, arguments: &[String]) -> Result<ServerPlan, String> {
    let line = std::iter::once("start-server").chain(arguments.iter().map(String::as_str));
    let options = Line::try_parse_from(line).map_err(|error| error.to_string())?;
    let plan = ServerPlan {
        options: options.options,
        ..base.clone()
    };
    crate::express::check::files(&plan).map_err(|error| error.to_string())?;
    Ok(plan)
}

#[test]
fn no_value_of_an_option_gets_out_of_its_word() {
    let base = plan(&[]).unwrap();
    let both = [
        files(|path| std::fs::write(path, "").unwrap()),
        files(|path| std::fs::create_dir(path).unwrap()),
    ];
    let mut quoted = 0;
    for (name, values, more, _) in ROWS {
        for at in 0..values.len() {
            let line = |value: &str| {
                let mut line: Vec<String> = more.iter().map(ToString::to_string).collect();
                line.push(format!("--{name}"));
                line.extend(values.iter().map(ToString::to_string));
                let place = line.len() - values.len() + at;
                line[place] = value.to_owned();
                line
            };
            for files in &both {
                let [plain, hostile] = [&files.plain, &files.hostile].map(|path| {
                    with_options(&base, &line(path.to_str().unwrap())).and_then(|plan| shape(&plan))
                });
                let Ok(hostile) = hostile else { continue };
                assert_same(&plain.unwrap(), &hostile, name);
                quoted += 1;
            }
            let broken = format!("{}\nUser root", values[at]);
            let refused = with_options(&base, &line(&broken)).and_then(|plan| shape(&plan));
            if let Ok(shaped) = refused {
                let as_given = with_options(&base, &line(values[at])).and_then(|plan| shape(&plan));
                assert_same(&as_given.unwrap(), &shaped, name);
            }
        }
    }
    assert!(quoted > 90, "only {quoted} values were taken");
}

#[test]
fn nothing_that_is_worked_out_gets_out_of_its_word() {
    let base = plan(&["--rotate-logs", "--server-name", "www.a.example"]).unwrap();
    let of = |name: &str| {
        let path = Path::new("/srv").join(name);
        let text = path.display().to_string();
        let mut plan = base.clone();
        for field in [
            &mut plan.program,
            &mut plan.module,
            &mut plan.working_directory,
            &mut plan.root,
            &mut plan.log_directory,
            &mut plan.httpd.executable,
        ] {
            field.clone_from(&path);
        }
        plan.python.as_mut().unwrap().home.clone_from(&path);
        plan.account.change = true;
        for field in [
            &mut plan.account.user,
            &mut plan.account.group,
            &mut plan.locale,
        ] {
            field.clone_from(&text);
        }
        plan
    };
    let [plain, hostile] = ["plain", HOSTILE].map(|name| shape(&of(name)).unwrap());
    assert_same(&plain, &hostile, "the plan");
}
