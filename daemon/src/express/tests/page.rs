//! `docs/start-server.md` is printed from the definitions of the options.

use std::collections::BTreeMap;
use std::path::Path;

use clap::{Arg, CommandFactory};

use crate::cli::Cli;

const HEAD: &str = "# Options of start-server

`wsgid start-server WSGI_FILE` and `wsgid setup-server WSGI_FILE` take all options
of mod_wsgi-express, with its defaults (but httpd has more threads, see
[Tuning](tuning.md#processes-and-threads)). An option may be shortened as long as it is
the only one that begins so; of an option that is given twice, the last counts
unless it is marked with +, which collects. `$NAME` and `${NAME}` in an argument
are variables of the environment. `setup-server` writes the server root and stops
there; its `apachectl` starts, restarts and stops the server, and passes other options
(`-V`, `-M`, `-S`, `-t -D DUMP_VHOSTS`) to httpd.

WSGI_FILE may also be written as for other servers: `shop.wsgi:app` and
`shop/wsgi.py:app` name the application object, `shop.wsgi` is a module of the working
directory if there is no such file. With `--application-type static` it is the directory
that is served.

A file of `--include-file` may ask how the server was set up: `${MOD_WSGI_SERVER_ROOT}`,
`WORKING_DIRECTORY`, `MODULES_DIRECTORY`, `LISTENER_HOST`, `HTTP_PORT`, `HTTPS_PORT`,
`USER` and `GROUP` (also `RUN_USER`, `RUN_GROUP`) are the variables, and the names of
mod_wsgi-express are defined for `<IfDefine>`, such as `MOD_WSGI_KEEP_ALIVE`. Four are
never: `EMBEDDED_MODE`, `ONE_PROCESS`, `MOD_WSGI_WITH_PHP5` and `MOD_WSGI_FREE_THREADING`
would not be true here.

This page is printed from the command line's definitions.
";

fn page() -> String {
    let mut command = Cli::command();
    command.build();
    let command = command
        .find_subcommand("start-server")
        .expect("it is a command")
        .clone();
    let mut order: Vec<&str> = Vec::new();
    let mut sections: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let hidden = "Accepted for old scripts";
    for argument in command
        .get_arguments()
        .filter(|argument| !argument.is_positional() && argument.get_id() != "help")
    {
        let heading = if argument.is_hide_set() {
            hidden
        } else {
            argument.get_help_heading().unwrap_or("Further")
        };
        if !order.contains(&heading) && heading != hidden {
            order.push(heading);
        }
        sections.entry(heading).or_default().push(row(argument));
    }
    order.extend(sections.contains_key(hidden).then_some(hidden));
    let mut out = HEAD.to_owned();
    for heading in order {
        out.push_str(&format!(
            "\n## {heading}\n\n| Option | Default | Effect |\n|---|---|---|\n"
        ));
        sections
            .get(heading)
            .into_iter()
            .flatten()
            .for_each(|row| out.push_str(row));
    }
    out
}

fn row(argument: &Arg) -> String {
    let mut name = format!("`--{}", argument.get_long().unwrap_or_default());
    let takes_value = argument.get_action().takes_values();
    for value in argument
        .get_value_names()
        .into_iter()
        .flatten()
        .filter(|_| takes_value)
    {
        name.push_str(&format!(" {value}"));
    }
    name.push('`');
    for alias in argument.get_all_aliases().into_iter().flatten() {
        name.push_str(&format!(", `--{alias}`"));
    }
    if matches!(argument.get_action(), clap::ArgAction::Append) {
        name.push_str(" +");
    }
    let help = argument
        .get_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    // Where the default is not a fixed value, the help tells it at its end.
    let (help, told) = match help
        .strip_suffix(']')
        .and_then(|help| help.split_once(" [default: "))
    {
        Some((help, told)) => (help.to_owned(), told.to_owned()),
        None => (help, "–".to_owned()),
    };
    let fixed: Vec<String> = argument
        .get_default_values()
        .iter()
        .filter(|_| takes_value)
        .map(|value| value.display().to_string())
        .collect();
    let default = if fixed.is_empty() {
        told
    } else {
        format!("`{}`", fixed.join(" "))
    };
    let values = argument.get_possible_values();
    let values: Vec<&str> = values
        .iter()
        .filter(|_| takes_value)
        .map(clap::builder::PossibleValue::get_name)
        .collect();
    // Some say it themselves.
    let listed = values.is_empty() || values.iter().all(|value| help.contains(value));
    let choice = if listed {
        String::new()
    } else {
        format!(": {}", values.join(", "))
    };
    format!(
        "| {name} | {default} | {}{choice} |\n",
        help.replace('|', "\\|")
    )
}

#[test]
fn the_page_of_options_is_what_the_definitions_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/start-server.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page(),
        "docs/start-server.md is not what is defined; run UPDATE_DOCS=1 cargo test -p wsgid page"
    );
}
