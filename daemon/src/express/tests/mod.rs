//! Unit tests of this part: helpers here, the table of all options in `table`.

mod defines;
mod effects;
mod injection;
mod page;
mod table;

use clap::Parser;
use nix::unistd::geteuid;

use super::options::ServerOptions;
use super::plan::{PlanError, ServerPlan};
use super::render::{Values, handler_json};

#[derive(Debug, Parser)]
#[command(name = "start-server")]
pub(crate) struct Line {
    #[command(flatten)]
    options: ServerOptions,
}

/// Options as the command line would give them.
pub(crate) fn options(arguments: &[&str]) -> ServerOptions {
    let line = std::iter::once("start-server").chain(arguments.iter().copied());
    Line::try_parse_from(line).unwrap().options
}

/// The plan of a command line. Root serves as nobody.
pub(crate) fn plan(arguments: &[&str]) -> Result<ServerPlan, PlanError> {
    let mut all = vec!["--server-root", "/srv/server"];
    let names_user = arguments.contains(&"--user");
    if geteuid().is_root() && !names_user {
        all.extend(["--user", "nobody", "--group", "#65534"]);
    }
    // The first python3 of a PATH may be a slow shim.
    if !arguments.contains(&"--python-home") {
        all.extend(["--python-home", "/usr"]);
    }
    all.extend(arguments);
    let plan = ServerPlan::with(
        options(&all),
        "start-server",
        "/opt/bin/wsgid".into(),
        "/opt/lib/mod_wsgid.so".into(),
    )?;
    super::check_plan(&plan)?;
    Ok(plan)
}

/// All generated text of a command line, each file under its name.
pub(crate) fn generated(arguments: &[&str]) -> String {
    let plan = plan(arguments).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
    let values = Values::of(&plan).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
    let conf = values.httpd_conf();
    let conf = conf.unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
    let control = values.apachectl().unwrap();
    let notes = super::notes::collect(&plan).join("\n");
    format!(
        "{conf}\n{control}\n{}\n{}\n{notes}\n",
        handler_json(&plan),
        super::banner::text(&plan)
    )
}
