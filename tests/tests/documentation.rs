//! What the documentation says, done: every command is run, every httpd
//! configuration is given to httpd, every file is put where the page says, and
//! every link leads somewhere. Pages are read as a person reads them, from top
//! to bottom, on a machine of their own (`machine`), which needs root.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use wsgid_tests::document::{Block, Step, Who, blocks, steps};
use wsgid_tests::listed::listed;
use wsgid_tests::machine::Machine;
use wsgid_tests::{Limit, case, note, users};

/// Commands that no test runs, by their beginning, and why.
const BY_HAND: &[(&str, &str)] = &[
    ("make build", "it builds what is under test"),
    ("make serve", "the continuous integration runs it"),
    ("make test", "this is a part of it"),
    ("apt ", "the machine of a page has no network"),
    ("pip ", "the machine of a page has no network"),
    (
        "/srv/shop/venv/bin/pip install",
        "the machine of a page has no network",
    ),
    ("dpkg ", "the package is tested where it is made"),
    (
        "a2",
        "a tool of Debian's apache2 package, which the tests do without",
    ),
];

/// Languages of blocks that are shown only; YAML is looked at by the suites `monitoring` and
/// `probes`.
const SHOWN: &[&str] = &["text", "yaml"];

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// README and ARCHITECTURE, and every page of `docs/`.
fn pages() -> BTreeSet<String> {
    let docs = fs::read_dir(top().join("docs"))
        .expect("docs/ is there")
        .flatten();
    let names = docs.map(|entry| format!("docs/{}", entry.file_name().to_string_lossy()));
    let top = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
    ]
    .map(str::to_owned);
    names
        .filter(|name| name.ends_with(".md"))
        .chain(top)
        .collect()
}

fn read(page: &str) -> String {
    fs::read_to_string(top().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

fn by_hand(step: &Step) -> bool {
    BY_HAND
        .iter()
        .any(|(begin, _)| step.command.starts_with(begin))
}

/// Goes through a page from top to bottom.
fn walk(page: &'static str) {
    case(Limit::seconds(400), move || {
        if !users::is_root() || !Machine::is_possible() {
            return note("left out: it needs root and namespaces, for a machine of its own");
        }
        let mut machine = Machine::new();
        for block in blocks(&read(page)) {
            let place = format!("{page}, line {}", block.line);
            match block.language.as_str() {
                "console" => steps(&block)
                    .iter()
                    .filter(|step| !by_hand(step))
                    .for_each(|step| machine.step(step)),
                "apache" => check_configuration(&mut machine, &block, &place),
                "python" => check_python(&mut machine, &block, &place),
                "toml" | "ini" | "sh" => put(&mut machine, &block, &place),
                language => assert!(
                    SHOWN.contains(&language),
                    "{place}: nothing checks `{language}`"
                ),
            }
        }
    });
}

fn put(machine: &mut Machine, block: &Block, place: &str) {
    let path = block
        .path
        .as_ref()
        .unwrap_or_else(|| panic!("{place}: the block names no file"));
    machine.write(path, &block.text);
}

/// httpd takes it: as the file it is, or in the place of one.
fn check_configuration(machine: &mut Machine, block: &Block, place: &str) {
    let path = block
        .path
        .as_deref()
        .unwrap_or("/etc/apache2/sites-enabled/zz-page.conf");
    machine.write(path, &block.text);
    let (code, output) = machine.run(Who::Root, "apachectl configtest");
    assert!(
        code == 0 && output.contains("Syntax OK"),
        "{place}: {output}"
    );
    if block.path.is_none() {
        machine.run(Who::Root, &format!("rm {path}"));
    }
}

fn check_python(machine: &mut Machine, block: &Block, place: &str) {
    let path = block.path.as_deref().unwrap_or("/srv/page.py");
    machine.write(path, &block.text);
    let (code, output) = machine.run(
        Who::User,
        &format!("python3 -c 'compile(open(\"{path}\").read(), \"x\", \"exec\")'"),
    );
    assert_eq!(code, 0, "{place}: {output}");
}

macro_rules! walks {
    ($($name:ident $page:literal;)*) => {
        /// Pages with something to run.
        const WALKED: &[&str] = &[$($page),*];
        $(#[test]
        fn $name() {
            walk($page);
        })*
    };
}

walks! {
    root_readme "README.md";
    root_quick_start "docs/quick-start.md";
    root_moving_from_mod_wsgi "docs/moving-from-mod_wsgi.md";
    root_moving_from_gunicorn_and_uwsgi "docs/moving-from-gunicorn-uwsgi.md";
    root_many_sites "docs/many-sites.md";
    root_reloading "docs/reloading.md";
    root_deploying "docs/deploying.md";
    root_probes "docs/probes.md";
    root_isolation "docs/isolation.md";
    root_tuning "docs/tuning.md";
    root_tracing "docs/tracing.md";
    root_troubleshooting "docs/troubleshooting.md";
    root_watching "docs/watching.md";
}

#[test]
fn every_page_with_a_command_is_walked() {
    for page in pages() {
        let runs = |block: &Block| !SHOWN.contains(&block.language.as_str());
        let found = blocks(&read(&page)).into_iter().find(runs);
        let line = found.map(|block| block.line);
        assert!(
            line.is_none() || WALKED.contains(&page.as_str()),
            "{page}, line {line:?}: no test runs this"
        );
    }
}

#[test]
fn every_link_leads_somewhere() {
    for page in pages() {
        let text = read(&page);
        let directory = top()
            .join(&page)
            .parent()
            .expect("a page is in a directory")
            .to_path_buf();
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
            if target.contains("://") {
                continue;
            }
            let path = if target.is_empty() {
                top().join(&page)
            } else {
                directory.join(target)
            };
            assert!(path.exists(), "{page}: `{link}` leads nowhere");
            if !anchor.is_empty() {
                let text = fs::read_to_string(&path).expect("a page is text");
                assert!(
                    headings(&text).contains(anchor),
                    "{page}: `{link}`: there is no such heading"
                );
            }
        }
    }
}

/// The anchors of a page's headings.
fn headings(text: &str) -> BTreeSet<String> {
    let heading = |line: &str| {
        let title = line
            .strip_prefix('#')?
            .trim_start_matches('#')
            .trim()
            .to_lowercase();
        let kept = title
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        Some(kept.map(|c| if c == ' ' { '-' } else { c }).collect())
    };
    text.lines().filter_map(heading).collect()
}

/// The map names files by their last part where the folder was named before.
#[test]
fn every_file_on_the_map_is_there() {
    let files = files_below(&top());
    for name in read("ARCHITECTURE.md").split('`').skip(1).step_by(2) {
        let is_file =
            [".rs", ".py", ".md"].iter().any(|end| name.ends_with(end)) || name.ends_with('/');
        let wanted = Path::new(name.trim_end_matches('/'));
        assert!(
            !is_file || files.iter().any(|file| file.ends_with(wanted)),
            "ARCHITECTURE.md: there is no `{name}`"
        );
    }
}

/// Files and folders, without what is built.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() && name != "target" && !name.to_string_lossy().starts_with('.') {
            found.extend(files_below(&path));
        }
        found.push(path);
    }
    found
}

/// The ids of the log that a text names.
fn ids_in(text: &str) -> BTreeSet<&str> {
    let behind = text.split("WSGID").skip(1);
    behind
        .filter_map(|rest| rest.get(..4))
        .filter(|id| id.bytes().all(|byte| byte.is_ascii_digit()))
        .collect()
}

/// Pages and tests speak of no id that the printed table does not have.
#[test]
fn every_id_of_the_log_is_in_the_table() {
    let table = read("docs/failures.md");
    let rows = table.lines().filter(|line| line.starts_with("| WSGID"));
    let known: BTreeSet<&str> = rows.flat_map(|row| ids_in(&row[..12])).collect();
    assert!(known.len() > 50, "{known:?}");
    let sources = files_below(&top().join("tests"));
    let sources = sources
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "rs"))
        .map(|path| fs::read_to_string(path).expect("a source is text"));
    for text in pages().iter().map(|page| read(page)).chain(sources) {
        for id in ids_in(&text) {
            assert!(known.contains(id), "docs/failures.md has no WSGID{id}");
        }
    }
}

#[test]
fn every_page_is_in_the_index() {
    let index = read("docs/README.md");
    for page in pages()
        .iter()
        .filter_map(|page| page.strip_prefix("docs/"))
        .filter(|page| *page != "README.md")
    {
        assert!(
            index.contains(&format!("]({page})")),
            "docs/README.md does not name {page}"
        );
    }
}

#[test]
fn the_exceptions_are_needed() {
    let all: Vec<Step> = pages()
        .iter()
        .flat_map(|page| blocks(&read(page)))
        .filter(|block| block.language == "console")
        .flat_map(|block| steps(&block))
        .collect();
    for (begin, why) in BY_HAND {
        assert!(
            all.iter().any(|step| step.command.starts_with(begin)),
            "no page says `{begin}` ({why})"
        );
    }
}

/// The tests that the security page may name: of the suites here as `suite::test`, of
/// the supervisor's as `supervisor::test`, of a part as `part module::test`.
fn nameable() -> BTreeSet<String> {
    let suites = listed(&["-p", "wsgid-tests"]);
    let parts = listed(&["--workspace", "--exclude", "wsgid-tests"]);
    let names = suites.into_iter().chain(parts);
    names
        .flat_map(|(folder, name)| {
            let part = if folder == "daemon" { "wsgid" } else { &folder };
            [format!("{part} {name}"), name]
        })
        .collect()
}

/// Whether the tests of the worker, which are Python's, have this one.
fn is_of_the_worker(name: &str) -> bool {
    let Some((file, case)) = name
        .strip_prefix("worker ")
        .and_then(|name| name.split_once("::"))
    else {
        return false;
    };
    let text = read(&format!("daemon/worker/tests/{file}.py"));
    text.contains(&format!("    def {case}(self)"))
}

/// The rows of the page's tables of promises: the promise, and the tests that see it.
fn promises(page: &str) -> Vec<(&str, Vec<&str>)> {
    let tables = page
        .split("| promise | how it is enforced | seen by |")
        .skip(1);
    let rows = tables.flat_map(|table| {
        let rows = table.lines().skip(2);
        rows.take_while(|line| line.starts_with('|'))
    });
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [promise, how, tests] = cells[..] else {
            panic!("docs/security.md: not three cells: {row}")
        };
        assert!(
            !promise.trim().is_empty() && !how.trim().is_empty(),
            "{row}"
        );
        (promise, tests.split('`').skip(1).step_by(2).collect())
    })
    .collect()
}

/// Nothing is promised that no test sees.
#[test]
fn every_promise_of_the_security_page_names_its_tests() {
    let page = read("docs/security.md");
    let promises = promises(&page);
    assert!(promises.len() > 40, "{}", promises.len());
    let tests = nameable();
    for (promise, names) in promises {
        assert!(
            !names.is_empty(),
            "docs/security.md: no test sees this:{promise}"
        );
        for name in names {
            assert!(
                tests.contains(&name.replace("tests::", "")) || is_of_the_worker(name),
                "docs/security.md: there is no test `{name}`"
            );
        }
    }
}
