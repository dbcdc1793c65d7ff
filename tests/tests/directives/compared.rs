//! mod_wsgi takes and refuses the same values, but for a few.

use std::collections::BTreeSet;

use wsgid_tests::{Builder, Limit, Site, case};

use crate::configuration::{HOST, SECTIONS, home, lines_of};
use crate::rows::Place::{Auth, FileInfo, Global, Section};
use crate::rows::ROWS;

/// Directives that may stand in `<WSGIInterpreterOptions>`.
pub(crate) const INTERPRETER: &[&str] = &[
    "WSGIPythonPath /srv/a",
    "WSGISwitchInterval 0.01",
    "WSGIPerInterpreterGIL On",
    "WSGIFreeThreading Off",
    "WSGIRestrictStdin On",
    "WSGIRestrictStdout On",
    "WSGIRestrictSignal Off",
];

/// What mod_wsgi takes and we refuse, or the other way round, and why: the
/// directive, the value, the reason.
const DIFFERENT: &[(&str, &str, &str)] = &[
    (
        "WSGIDispatchScript",
        "\"$\" process-group=site",
        "an option of ours: the script runs in a worker",
    ),
    ("WSGIAccessScript", "\"$\" process-group=site", "likewise"),
    ("WSGIAuthUserScript", "\"$\" process-group=site", "likewise"),
    (
        "WSGIAuthGroupScript",
        "\"$\" process-group=site",
        "likewise",
    ),
    (
        "WSGIDaemonProcess",
        "other threads=many",
        "mod_wsgi takes it for 0",
    ),
    ("WSGIPythonOptimize", "x", "mod_wsgi takes it for 0"),
    ("WSGISlowRequests", "slow", "mod_wsgi takes it for 0"),
    (
        "WSGIRestrictProcess",
        "",
        "an empty list would refuse everything",
    ),
];

/// Every good and every bad value through mod_wsgi, too.
#[test]
fn mod_wsgi_takes_and_refuses_the_same() {
    let Some((venv, module)) = wsgid_tests::peer::peer() else {
        return;
    };
    let _ = venv;
    case(Limit::seconds(240), move || {
        let site = Site::new();
        let taken = |name: &str, value: &str, around: Option<(&str, &str)>| {
            let lines = lines_of(&site, name, value, around);
            Builder::new()
                .peer(module.clone())
                .daemon("site", "threads=5")
                .line(lines)
                .check()
        };
        let mut wrong = Vec::new();
        let mut used = BTreeSet::new();
        let mut compare = |name: &str, value: &str, ours: bool, around: Option<(&str, &str)>| {
            let theirs = taken(name, value, around);
            if theirs.ok != ours {
                let place = around.map_or("the main server", |(open, _)| open);
                match DIFFERENT
                    .iter()
                    .position(|(other, known, _)| *other == name && value == *known)
                {
                    Some(index) => drop(used.insert(index)),
                    None => wrong.push(format!(
                        "`{name} {value}` in {place}: mod_wsgi {}, we {ours}",
                        theirs.ok
                    )),
                }
            }
        };
        for (name, place, good, bad) in ROWS {
            good.iter()
                .for_each(|value| compare(name, value, true, home(*place)));
            bad.iter()
                .for_each(|(value, _)| compare(name, value, false, home(*place)));
            compare(name, good[0], !matches!(place, Global | Auth), Some(HOST));
            compare(
                name,
                good[0],
                matches!(place, Section | FileInfo | Auth),
                Some(SECTIONS[0]),
            );
        }
        let stale = (0..DIFFERENT.len()).filter(|index| !used.contains(index));
        wrong.extend(stale.map(|index| {
            format!(
                "{:?} differs no more: take it off the list",
                DIFFERENT[index]
            )
        }));
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}
