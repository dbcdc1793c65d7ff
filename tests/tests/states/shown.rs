//! Each state, and what is said of it everywhere.

use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use wsgid_protocol::status::{GroupState, GroupStatus, Urgency};
use wsgid_tests::{Httpd, Limit, Site, case, control, eventually};

use crate::{
    APPLICATION, SOON, begin, builder, let_go, wait_for, wait_for_answer, wait_for_running,
};

/// A state: the group that is to be in it, its script, and how it comes about.
struct Trial {
    state: GroupState,
    options: &'static str,
    /// In front of the application.
    script: &'static str,
    bring: fn(&Httpd, &Site, &str),
}

impl Trial {
    /// The name of its group and of its script.
    fn name(&self) -> String {
        self.state.word().replace(' ', "-")
    }

    fn text(&self) -> String {
        format!("{}\n{APPLICATION}", self.script)
    }
}

const fn trial(
    state: GroupState,
    options: &'static str,
    script: &'static str,
    bring: fn(&Httpd, &Site, &str),
) -> Trial {
    Trial {
        state,
        options,
        script,
        bring,
    }
}

fn nothing(_: &Httpd, _: &Site, _: &str) {}

fn at(name: &str, path: &str) -> String {
    format!("/{name}{path}")
}

/// The one that leaves comes first: a request that runs would keep the children of httpd
/// for which it is still configured.
const TRIALS: &[Trial] = &[
    trial(
        GroupState::Leaving,
        "graceful-timeout=500",
        "import atexit\natexit.register(lambda: hold())",
        |httpd, _, name| wait_for_answer(httpd, &at(name, "/")),
    ),
    trial(
        GroupState::Failed,
        "restart-burst=1 restart-window=600",
        "import os\nos._exit(9)",
        nothing,
    ),
    trial(
        GroupState::CannotStart,
        "python-home=/nowhere/at/all restart-burst=1 restart-window=600",
        "",
        nothing,
    ),
    trial(
        GroupState::Failing,
        "restart-burst=1000000",
        "import os\nos._exit(9)",
        nothing,
    ),
    trial(
        GroupState::ScriptFailed,
        "threads=1",
        "import no_such_module_anywhere",
        nothing,
    ),
    trial(GroupState::Crashing, "threads=1", "", |httpd, _, name| {
        for _ in 0..3 {
            wait_for_answer(httpd, &at(name, "/"));
            assert_eq!(httpd.get(&at(name, "/die")).status, 502);
        }
    }),
    trial(
        GroupState::NotAnswering,
        "threads=1",
        "",
        |httpd, _, name| {
            wait_for_answer(httpd, &at(name, "/"));
            for worker in control::workers(httpd, name).unwrap_or_default() {
                worker.signal(Signal::SIGSTOP);
            }
        },
    ),
    trial(
        GroupState::ServingOldCode,
        "threads=1",
        "",
        |httpd, site, name| {
            wait_for_answer(httpd, &at(name, "/"));
            site.write(&format!("{name}.py"), "import no_such_module_anywhere\n");
        },
    ),
    trial(
        GroupState::Degraded,
        "processes=2 threads=1 restart-burst=1000000",
        "import os\nif os.path.exists(__file__ + '.broken'): os._exit(9)",
        |httpd, site, name| {
            let workers = eventually("two workers", SOON, || {
                control::workers(httpd, name).filter(|workers| workers.len() == 2)
            });
            site.write(&format!("{name}.py.broken"), "");
            workers[0].kill();
        },
    ),
    trial(GroupState::Busy, "threads=1", "", |httpd, _, name| {
        wait_for_answer(httpd, &at(name, "/"));
        begin(httpd, &at(name, "/hold"));
    }),
    trial(
        GroupState::Starting,
        "threads=1",
        "import os, time\nwhile not os.path.exists(os.path.dirname(__file__) + '/go'): time.sleep(0.05)",
        nothing,
    ),
    trial(
        GroupState::Replacing,
        "threads=1",
        "import os, time\nwhile os.path.exists(__file__ + '.slow'): time.sleep(0.05)",
        |httpd, site, name| {
            wait_for_answer(httpd, &at(name, "/"));
            site.write(&format!("{name}.py.slow"), "");
            assert_eq!(said(httpd, &["restart", "--no-wait", name]).0, 0);
        },
    ),
    trial(
        GroupState::Stopping,
        "threads=1 graceful-timeout=500",
        "",
        |httpd, _, name| {
            wait_for_answer(httpd, &at(name, "/"));
            begin(httpd, &at(name, "/hold"));
            wait_for_running(httpd, name);
            assert_eq!(said(httpd, &["stop", "--no-wait", name]).0, 0);
        },
    ),
    trial(GroupState::Stopped, "threads=1", "", |httpd, _, name| {
        wait_for_answer(httpd, &at(name, "/"));
        assert_eq!(said(httpd, &["stop", "--no-wait", name]).0, 0);
    }),
    trial(GroupState::Running, "threads=2", "", |httpd, _, name| {
        wait_for_answer(httpd, &at(name, "/"));
    }),
    trial(GroupState::Idle, "processes=0..1", "", nothing),
];

fn said(httpd: &Httpd, args: &[&str]) -> (i32, String) {
    let said = control::command(httpd, args).expect("a control socket");
    (said.code, said.text)
}

fn start(site: &Site) -> Httpd {
    let mut builder = builder();
    for trial in TRIALS {
        let name = trial.name();
        let script = site.write(&format!("{name}.py"), &trial.text());
        builder = builder
            .daemon(&name, trial.options)
            .mount(&format!("/{name}"), &script, &name);
    }
    builder.start()
}

#[test]
fn each_state_is_said_in_one_word_everywhere() {
    case(Limit::seconds(240), || {
        assert_eq!(TRIALS.len(), GroupState::ALL.len(), "each has a trial");
        let site = Site::new();
        let mut httpd = start(&site);
        let (leaving, others) = TRIALS.split_first().expect("there are trials");
        let name = leaving.name();
        (leaving.bring)(&httpd, &site, &name);
        httpd.configure(|lines| lines.retain(|line| !line.contains(&name)));
        httpd.graceful();
        wait_for(&httpd, &name, leaving.state);
        for trial in others {
            (trial.bring)(&httpd, &site, &trial.name());
        }
        for trial in TRIALS {
            let group = wait_for(&httpd, &trial.name(), trial.state);
            tells_when_and_why(&group);
        }
        let forms = Forms::of(&httpd);
        for trial in TRIALS {
            forms.say(&trial.name(), trial.state);
            forms.command_line_says(&httpd, &trial.name(), trial.state);
        }
        forms.are_in_order();
        only_the_broken_are_shown(&httpd);
        let_go(&site);
        for worker in control::workers(&httpd, "not-answering").unwrap_or_default() {
            worker.signal(Signal::SIGCONT);
        }
        httpd.stop();
    });
}

fn tells_when_and_why(group: &GroupStatus) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("a time after 1970").as_secs();
    let since = group
        .since
        .unwrap_or_else(|| panic!("since when: {group:?}"));
    assert!(since <= now && now - since < 240, "{since} {now}");
    assert!(!group.state.is_bad() || group.why.is_some(), "{group:?}");
    let named = match group.state {
        GroupState::CannotStart => "python-home `/nowhere/at/all`",
        GroupState::ServingOldCode => "serving-old-code.py` failed to load",
        GroupState::ScriptFailed => "No module named 'no_such_module_anywhere'",
        GroupState::Failed | GroupState::Failing | GroupState::Degraded => "exited with code 9",
        GroupState::Crashing => "SIGKILL",
        _ => return,
    };
    let why = group.why.as_deref().unwrap_or_default();
    assert!(why.contains(named), "{why}");
}

/// What httpd says of all groups.
struct Forms {
    page: String,
    json: wsgid_tests::Json,
    auto: String,
    metrics: String,
}

impl Forms {
    fn of(httpd: &Httpd) -> Self {
        Self {
            page: httpd.get("/groups?still").text(),
            json: httpd.get("/groups?json").json(),
            auto: httpd.get("/server?auto").text(),
            metrics: httpd.get("/groups?openmetrics").text(),
        }
    }

    fn say(&self, name: &str, state: GroupState) {
        let word = state.word();
        let class = match state.urgency() {
            Urgency::Bad => "bad",
            Urgency::Passing => "warn",
            Urgency::Good => "good",
            Urgency::Resting => "soft",
        };
        let row = format!(">{name}</a><td class=\"state {class}\">{word}");
        assert!(self.page.contains(&row), "{row}: {}", self.page);
        let groups = self.json["groups"].as_array().expect("a list");
        let group = groups.iter().find(|group| group["name"] == name);
        assert_eq!(group.expect("the group")["state"], word);
        let line = format!("WsgidState {name}: {word}");
        assert!(self.auto.lines().any(|have| have == line), "{}", self.auto);
        let mut lines = self.metrics.lines();
        let of_group = format!("wsgid_group_state{{group=\"{name}\",state=\"");
        let set: Vec<&str> = lines
            .by_ref()
            .filter_map(|line| line.strip_prefix(&of_group)?.strip_suffix("\"} 1"))
            .collect();
        assert_eq!(set, [word]);
    }

    fn command_line_says(&self, httpd: &Httpd, name: &str, state: GroupState) {
        let (code, text) = said(httpd, &["status", name]);
        let line = format!("\n{name}  {} since ", state.word());
        assert!(code == 0 && text.contains(&line), "{code} {text}");
    }

    /// The worst come first, in the JSON and on the page.
    fn are_in_order(&self) {
        let groups = self.json["groups"].as_array().expect("a list");
        let names = groups.iter().filter_map(|group| group["name"].as_str());
        let expected = GroupState::ALL.iter();
        let expected: Vec<String> = expected
            .map(|state| state.word().replace(' ', "-"))
            .collect();
        let ours = |name: &&str| !name.contains(':');
        assert_eq!(names.filter(ours).collect::<Vec<_>>(), expected);
        let places = expected
            .iter()
            .map(|name| self.page.find(&format!(">{name}</a>")));
        assert!(places.is_sorted(), "{}", self.page);
    }
}

fn only_the_broken_are_shown(httpd: &Httpd) {
    let (code, text) = said(httpd, &["status", "--failed"]);
    assert_eq!(code, 1, "{text}");
    for trial in TRIALS {
        let line = format!("\n{}  ", trial.name());
        assert_eq!(text.contains(&line), trial.state.is_bad(), "{line}{text}");
    }
    let (code, text) = said(httpd, &["status", "--failed", "running"]);
    assert!(code == 0 && !text.contains("running  "), "{text}");
    let (code, text) = said(httpd, &["status", "no-such-group"]);
    assert!(
        code == 5 && text.contains("`no-such-group`"),
        "{code} {text}"
    );
}
