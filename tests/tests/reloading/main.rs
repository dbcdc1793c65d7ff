//! Changes of files are seen without a request: which, how soon, how often, and who
//! sees them. `waiting` is `reload-wait`, `required` what scripts say themselves.

mod required;
mod server;
mod waiting;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use wsgid_tests::wait::let_run;
use wsgid_tests::{Httpd, Limit, Pid, Python, Site, case, eventually, heavy_case, note, users};

use crate::server::{
    SOON, code, instances, pool, ready, same_time, serve, serves, site, watcher, watchers,
};

/// Says what stood in the file beside it when it was loaded, so that a touch is new code.
const TOLD: &str = "
with open(__file__ + '.text', 'rb') as file:
    text = file.read()
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [text]
";

#[test]
fn the_first_request_after_a_change_has_the_new_code() {
    case(Limit::seconds(240), || {
        let site = site();
        let groups = [
            ("one", "processes=1 threads=2"),
            ("four", "processes=4 threads=2"),
            ("sixteen", "processes=16 threads=1"),
            ("range", "processes=1..8 threads=1"),
            ("forked", "processes=4 threads=1 preload=On"),
            ("idle", "processes=2 threads=1 idle-stop=600"),
        ];
        let mut builder = Httpd::builder();
        for (name, options) in groups {
            site.write(&format!("{name}.py.text"), "old");
            let script = site.write(&format!("{name}.py"), TOLD);
            builder = builder
                .daemon(name, options)
                .mount(&format!("/{name}"), &script, name);
        }
        let httpd = builder.start();
        for (name, _) in groups {
            assert_eq!(httpd.get(&format!("/{name}")).text(), "old", "{name}");
        }
        eventually("one worker of each group that watches", SOON, || {
            (watchers(&httpd).len() == groups.len()).then_some(())
        });
        let touch = |name: &str| {
            let script = site.file(&format!("{name}.py"));
            let done = Command::new("touch").arg(script).status();
            assert!(done.is_ok_and(|status| status.success()), "{name}");
        };
        for (name, _) in groups {
            site.write(&format!("{name}.py.text"), "new");
            // A burst within 200 ms is one change.
            for _ in 0..10 {
                touch(name);
                let_run(Duration::from_millis(10));
            }
        }
        let touched = Instant::now();
        eventually("all groups with their second generation", SOON, || {
            httpd
                .pools()
                .iter()
                .all(|pool| pool.generation == 2)
                .then_some(())
        });
        note(&format!("{:?} after the last touch", touched.elapsed()));
        for (name, _) in groups {
            assert_eq!(httpd.get(&format!("/{name}")).text(), "new", "{name}");
        }
        let log = httpd.error_log();
        assert!(!log.contains("generation 3"), "{log}");
        httpd.stop();
    });
}

#[test]
fn a_pool_that_has_gone_to_zero_starts_with_the_new_code() {
    case(Limit::default(), || {
        let site = site();
        let (httpd, _) = serve(&site, "processes=1 threads=1 idle-stop=1");
        eventually("no worker", SOON, || {
            httpd.ready_workers().is_empty().then_some(())
        });
        site.write("app.py", &code("two", ""));
        assert_eq!(httpd.get("/").text(), "two");
        httpd.stop();
    });
}

#[test]
fn every_way_to_change_a_script_is_seen_once() {
    case(Limit::seconds(240), || {
        let site = site();
        let (httpd, script) = serve(&site, "processes=2 threads=1");
        ready(&httpd, 2);
        watcher(&httpd);
        let mut generation = 1;
        let mut expect = |text: &str| {
            generation += 1;
            serves(&httpd, generation);
            assert_eq!(httpd.get("/").text(), text);
            watcher(&httpd);
        };
        // Written in steps, as editors and rsync do.
        let whole = code("steps", "");
        let mut file = fs::File::create(&script).expect("it can be written");
        for part in whole.as_bytes().chunks(whole.len() / 10 + 1) {
            file.write_all(part).expect("it can be written");
            file.flush().expect("it can be written");
            let_run(Duration::from_millis(20));
        }
        drop(file);
        expect("steps");
        // Its time alone.
        Command::new("touch").arg(&script).status().expect("touch");
        expect("steps");
        // Another file in its place.
        let next = site.write("next.py", &code("renamed", ""));
        fs::rename(next, &script).expect("a file can be renamed");
        expect("renamed");
        // Away, and there again.
        fs::remove_file(&script).expect("it is there");
        let_run(Duration::from_millis(300));
        assert_eq!(httpd.get("/none").status, 404);
        site.write("app.py", &code("created", ""));
        expect("created");
        let log = httpd.error_log();
        assert!(!log.contains("given up"), "{log}");
        assert!(log.contains(&format!("`{}` has changed", script.display())));
        httpd.stop();
    });
}

#[test]
fn a_link_on_the_path_that_is_switched_is_a_change() {
    case(Limit::default(), || {
        let site = site();
        let scripts = ["one", "two", "three"].map(|name| {
            let script = site.write(
                &format!("{name}/conf/app.py"),
                &code(&format!("{name:<5}"), ""),
            );
            let _ = fs::create_dir(site.file("none"));
            script
        });
        for script in &scripts[1..] {
            same_time(script, &scripts[0]);
        }
        symlink("one", site.file("current")).expect("a link");
        let script = site.file("current/conf/app.py");
        let httpd = Httpd::builder()
            .daemon("site", "processes=2 threads=1")
            .mount("/", &script, "site")
            .start();
        assert_eq!(httpd.get("/").text(), "one  ");
        watcher(&httpd);
        symlink("two", site.file("next")).expect("a link");
        fs::rename(site.file("next"), site.file("current")).expect("it is renamed");
        serves(&httpd, 2);
        assert_eq!(httpd.get("/").text(), "two  ");
        watcher(&httpd);
        // A directory on the path that is exchanged.
        fs::rename(site.file("two"), site.file("before")).expect("it is renamed");
        fs::rename(site.file("three"), site.file("two")).expect("it is renamed");
        serves(&httpd, 3);
        assert_eq!(httpd.get("/").text(), "three");
        httpd.stop();
    });
}

#[test]
fn scripts_that_requests_had_loaded_are_watched_too() {
    case(Limit::default(), || {
        let site = site();
        site.write("many/lazy.py", &code("one", ""));
        let directory = site.file("many");
        let httpd = Httpd::builder()
            .daemon("site", "processes=3 threads=1")
            .line(format!(
                "WSGIScriptAlias /many/ {}/ process-group=site application-group=%{{GLOBAL}}\n\
                 <Directory {}>\n  Require all granted\n</Directory>",
                directory.display(),
                directory.display()
            ))
            .start();
        assert_eq!(httpd.get("/many/lazy.py").text(), "one");
        watcher(&httpd);
        site.write("many/lazy.py", &code("two", ""));
        serves(&httpd, 2);
        assert_eq!(httpd.get("/many/lazy.py").text(), "two");
        httpd.stop();
    });
}

/// Shows a variable and whether a flag is there.
const SETTINGS: &str = "import os\nVALUE = os.environ.get('VALUE', '-')\n\
    def application(environ, start_response):\n    start_response('200 OK', [])\n    \
    return [(VALUE + ' ' + str(LOADED)).encode()]\n";

#[test]
fn files_that_options_name_are_watched() {
    case(Limit::default(), || {
        let site = site();
        let env = site.write("env", "VALUE=one\n");
        let (flag, list) = (site.file("flag"), site.write("list", "a"));
        let loaded = format!(
            "import os\nLOADED = os.path.exists('{}'), open('{}').read()\n{SETTINGS}",
            flag.display(),
            list.display()
        );
        let script = site.write("settings.py", &loaded);
        let options = format!(
            "processes=2 threads=1 env-file={} reload-files={}:{}",
            env.display(),
            flag.display(),
            list.display()
        );
        let httpd = Httpd::builder()
            .daemon("site", &options)
            .mount("/", &script, "site")
            .start();
        assert_eq!(httpd.get("/").text(), "one (False, 'a')");
        let expect = |generation: u64, text: &str| {
            serves(&httpd, generation);
            assert_eq!(httpd.get("/").text(), text);
            watcher(&httpd);
        };
        watcher(&httpd);
        site.write("env", "VALUE=another\n");
        expect(2, "another (False, 'a')");
        site.write("flag", "");
        expect(3, "another (True, 'a')");
        site.write("list", "bc");
        expect(4, "another (True, 'bc')");
        // This one need not be there: that it has gone is a change.
        fs::remove_file(&flag).expect("it is there");
        expect(5, "another (False, 'bc')");
        httpd.stop();
    });
}

#[test]
fn a_service_is_restarted_for_what_options_name_alone() {
    case(Limit::default(), || {
        let site = site();
        let mark = site.write("mark", "one");
        let script = site.write(
            "service.py",
            "import time\nwhile True:\n    time.sleep(0.1)\n",
        );
        let httpd = Httpd::builder()
            .daemon(
                "service",
                &format!("threads=0 reload-files={}", mark.display()),
            )
            .line(format!(
                "WSGIImportScript {} process-group=service application-group=%{{GLOBAL}}",
                script.display()
            ))
            .start();
        let before = watcher(&httpd);
        site.write(
            "service.py",
            "import time\nwhile True:\n    time.sleep(0.2)\n",
        );
        site.write("mark", "two");
        serves(&httpd, 2);
        let after = watcher(&httpd);
        assert_ne!(before, after);
        let log = httpd.error_log();
        assert!(log.contains("mark` has changed"), "{log}");
        assert!(!log.contains("service.py` has changed"), "{log}");
        httpd.stop();
    });
}

#[test]
fn script_reloading_off_leaves_scripts_alone() {
    case(Limit::default(), || {
        let site = site();
        let mark = site.write("mark", "one");
        let script = site.write("app.py", &code("one", ""));
        let httpd = Httpd::builder()
            .line("WSGIScriptReloading Off")
            .daemon(
                "site",
                &format!("processes=1 threads=1 reload-files={}", mark.display()),
            )
            .mount("/", &script, "site")
            .start();
        assert_eq!(httpd.get("/").text(), "one");
        watcher(&httpd);
        site.write("app.py", &code("two", ""));
        // What comes later is seen, so the script was passed over.
        let_run(Duration::from_millis(1500));
        assert_eq!(httpd.get("/").text(), "one");
        assert_eq!(pool(&httpd).generation, 1);
        site.write("mark", "two");
        serves(&httpd, 2);
        assert_eq!(httpd.get("/").text(), "two");
        httpd.stop();
    });
}

#[test]
fn one_worker_watches_and_another_when_it_has_gone() {
    case(Limit::default(), || {
        let site = site();
        let (httpd, _) = serve(&site, "processes=4 threads=1");
        let first = watcher(&httpd);
        first.kill();
        let second = eventually("another watcher", SOON, || {
            watchers(&httpd).into_iter().find(|worker| *worker != first)
        });
        assert_eq!(instances(second), 1);
        site.write("app.py", &code("two", ""));
        serves(&httpd, 2);
        assert_eq!(httpd.get("/").text(), "two");
        let supervisor = httpd.supervisor();
        let _ = httpd.wsgid(&["reexec"]);
        assert_eq!(httpd.supervisor(), supervisor);
        watcher(&httpd);
        site.write("app.py", &code("three", ""));
        serves(&httpd, 3);
        assert_eq!(httpd.get("/").text(), "three");
        httpd.stop();
    });
}

#[test]
fn code_that_does_not_load_is_tried_once_and_the_cure_is_seen() {
    case(Limit::default(), || {
        let site = site();
        let (httpd, _) = serve(&site, "processes=3 threads=1");
        ready(&httpd, 3);
        watcher(&httpd);
        site.write("app.py", "raise RuntimeError('broken')\n");
        httpd.wait_for_log("was given up", SOON);
        for _ in 0..20 {
            assert_eq!(httpd.get("/").text(), "one");
        }
        // The next watcher knows that, too.
        let first = watcher(&httpd);
        first.signal(nix::sys::signal::Signal::SIGKILL);
        eventually("another watcher", SOON, || {
            watchers(&httpd).into_iter().find(|worker| *worker != first)
        });
        site.write("app.py", &code("two", ""));
        // The second was given up, once.
        serves(&httpd, 3);
        assert_eq!(httpd.get("/").text(), "two");
        httpd.stop();
    });
}

/// Takes every inotify instance of its user and says how many.
const TAKE_ALL: &str = "
import ctypes, sys, time
libc = ctypes.CDLL(None)
count = 0
while libc.inotify_init1(0) >= 0:
    count += 1
print(count, flush=True)
sys.stdin.read()
";

#[test]
fn root_without_inotify_files_are_looked_at() {
    let Some([user, ..]) = users::three() else {
        return;
    };
    case(Limit::default(), || {
        let site = Site::of(user);
        let mut taker = Command::new(Python::any().program.as_path())
            .args(["-c", TAKE_ALL])
            .uid(user.uid)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python can be run");
        let mut line = String::new();
        let out = taker.stdout.take().expect("it is piped");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line)
            .expect("it says how many");
        assert!(line.trim().parse::<u32>().expect("a number") > 0);
        let script: PathBuf = site.write("app.py", &code("one", ""));
        let options = format!("user={} processes=2 threads=1", user.name);
        let httpd = Httpd::builder()
            .daemon("site", &options)
            .mount("/", &script, "site")
            .start();
        assert_eq!(httpd.get("/").text(), "one");
        httpd.wait_for_log("changes of files are looked for once a second", SOON);
        assert_eq!(watchers(&httpd), []);
        site.write("app.py", &code("two", ""));
        serves(&httpd, 2);
        assert_eq!(httpd.get("/").text(), "two");
        drop(taker.stdin.take());
        let _ = taker.wait();
        httpd.stop();
    });
}

/// How many sites are idle, and for how many seconds: `WSGID_IDLE_SITES=500
/// WSGID_IDLE_SECONDS=60` for the figures of many.
fn idle_sites() -> (usize, u64) {
    let given = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let sites = given("WSGID_IDLE_SITES").unwrap_or(20);
    let seconds = given("WSGID_IDLE_SECONDS").unwrap_or(10);
    (usize::try_from(sites).expect("a number of sites"), seconds)
}

#[test]
fn idle_sites_that_are_watched_use_no_processor() {
    heavy_case(Limit::seconds(600), || {
        let site = site();
        let script = site.write("app.py", &code("one", ""));
        let (count, seconds) = idle_sites();
        // The kernel gives a user only so many instances, often 128.
        let users = users::is_root().then(users::three).flatten();
        let users = users.map_or(&[][..], |three| &three[..]);
        let mut builder = Httpd::builder();
        for number in 0..count {
            let name = format!("site{number}");
            let user = users.get(number % (users.len() + 1));
            let user = user.map_or(String::new(), |user| {
                format!(" user={} group={}", user.name, user.group)
            });
            let options = format!("processes=1 threads=1 deadlock-timeout=0{user}");
            builder = builder
                .daemon(&name, &options)
                .mount(&format!("/{name}"), &script, &name);
        }
        let httpd = builder.start();
        let (workers, watching) = eventually("all sites", Duration::from_secs(400), || {
            let workers = httpd.ready_workers();
            let watching: usize = workers.iter().map(|one| instances(*one)).sum();
            let looking = httpd
                .error_log()
                .matches("looked for once a second")
                .count();
            (workers.len() == count && watching + looking == count).then_some((workers, watching))
        });
        // What follows the start has had its time.
        let_run(Duration::from_secs(3));
        let supervisor = [httpd.supervisor().expect("a supervisor")];
        let used = |by: &[Pid]| by.iter().map(|one| one.cpu_time()).sum::<Duration>();
        let before = (used(&workers), used(&supervisor));
        let_run(Duration::from_secs(seconds));
        let spent = used(&workers) - before.0;
        let own = used(&supervisor) - before.1;
        let mib = |by: &[Pid]| by.iter().map(|one| one.resident()).sum::<u64>() >> 20;
        note(&format!(
            "{count} idle sites, {watching} with an inotify instance; in {seconds} s {spent:?} of processor time of \
             workers, {own:?} of the supervisor; resident {} MiB in workers, {} MiB in the supervisor",
            mib(&workers),
            mib(&supervisor)
        ));
        assert!(watching == count || count > 100, "{watching} instances");
        let most = Duration::from_millis(1) * u32::try_from(count).unwrap_or(u32::MAX);
        assert!(spent <= most, "{spent:?}");
        // Its ticks, whatever the number of sites.
        assert!(
            own <= Duration::from_millis(20) * u32::try_from(seconds).unwrap_or(u32::MAX),
            "{own:?}"
        );
        httpd.stop();
    });
}
