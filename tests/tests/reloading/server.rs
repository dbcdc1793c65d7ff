//! Sites that say which code serves, and what is asked of their servers.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wsgid_protocol::status::PoolStatus;
use wsgid_tests::{Httpd, Pid, Site, eventually};

pub(crate) const SOON: Duration = Duration::from_secs(40);

/// Says its text and its process; `before` runs while it is loaded.
pub(crate) fn code(text: &str, before: &str) -> String {
    format!(
        "import os, time\n{before}\n\
         def application(environ, start_response):\n    \
         start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
         return [b'{text}']\n"
    )
}

/// A site whose processes may write into it.
pub(crate) fn site() -> Site {
    let site = Site::new();
    let _ = fs::set_permissions(site.path(), fs::Permissions::from_mode(0o777));
    site
}

/// One group with these options, and its script.
pub(crate) fn serve(site: &Site, options: &str) -> (Httpd, PathBuf) {
    let script = site.write("app.py", &code("one", ""));
    let httpd = Httpd::builder()
        .daemon("site", options)
        .mount("/", &script, "site")
        .start();
    assert_eq!(httpd.get("/").text(), "one");
    (httpd, script)
}

/// Waits until so many workers are ready: none loads what is written next.
pub(crate) fn ready(httpd: &Httpd, count: usize) {
    eventually("all workers", SOON, || {
        (httpd.ready_workers().len() == count).then_some(())
    });
}

pub(crate) fn pool(httpd: &Httpd) -> PoolStatus {
    httpd.pools().pop().expect("a pool")
}

/// Waits until this generation serves and none is on its way. No request is sent.
pub(crate) fn serves(httpd: &Httpd, generation: u64) {
    eventually(&format!("generation {generation}"), SOON, || {
        let pool = pool(httpd);
        (pool.generation == generation && pool.next_generation.is_none()).then_some(())
    });
}

/// The workers that have an inotify instance.
pub(crate) fn watchers(httpd: &Httpd) -> Vec<Pid> {
    let workers = httpd.ready_workers().into_iter();
    workers.filter(|worker| instances(*worker) > 0).collect()
}

pub(crate) fn instances(process: Pid) -> usize {
    let open = process.descriptors();
    open.values()
        .filter(|what| what.contains("inotify"))
        .count()
}

/// Waits until one worker watches.
pub(crate) fn watcher(httpd: &Httpd) -> Pid {
    eventually("one worker that watches", SOON, || {
        let watchers = watchers(httpd);
        (watchers.len() == 1).then(|| watchers[0])
    })
}

/// Gives a file the time of another.
pub(crate) fn same_time(file: &Path, as_of: &Path) {
    let time = fs::metadata(as_of).and_then(|data| data.modified());
    let open = fs::File::options().write(true).open(file);
    let set = open.and_then(|open| open.set_modified(time?));
    set.expect("a time can be set");
}
