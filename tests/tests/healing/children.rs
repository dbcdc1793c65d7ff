//! Processes that an application forks: they end as they would without a server
//! around them, and never become a second worker.

use wsgid_tests::{Httpd, Limit, Site, case, eventually};

use crate::SOON;

const APPLICATION: &str = r#"
import multiprocessing, os, sys, time

def end_of(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

# One that comes back while the script is loaded.
child = os.fork()
if child == 0:
    sys.exit(4)
AT_IMPORT = end_of(child)

def terminated():
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    child.start()
    child.terminate()
    child.join()
    return child.exitcode

def application(environ, start_response):
    ends = [AT_IMPORT, terminated()]
    for way in ("return", "raise", "exit", "words"):
        child = os.fork()
        if child == 0:
            if way == "raise": raise ValueError("wrong in the child")
            if way == "exit": sys.exit(3)
            if way == "words": sys.exit("last words")
            start_response("200 OK", [])
            return [b"from the child"]
        ends.append(end_of(child))
    start_response("200 OK", [])
    return [str(ends).encode()]
"#;

const SERVICE: &str = r#"
import os, sys, time

child = os.fork()
if child == 0:
    sys.exit(3)
print("the child ended with", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
time.sleep(600)
"#;

fn serve(site: &Site) -> Httpd {
    let script = site.write("forks.py", APPLICATION);
    let service = site.write("service.py", SERVICE);
    Httpd::builder()
        .daemon("plain", "threads=2")
        .daemon("preloaded", "threads=2 preload=On")
        .daemon("service", "threads=0")
        .mount("/plain", &script, "plain")
        .mount("/preloaded", &script, "preloaded")
        .line(format!(
            "WSGIImportScript {} process-group=service application-group=%{{GLOBAL}}",
            service.display()
        ))
        .start()
}

#[test]
fn what_an_application_forks_ends_as_it_should() {
    case(Limit::default(), || {
        let site = Site::new();
        let httpd = serve(&site);
        for group in ["/plain", "/preloaded"] {
            assert_eq!(httpd.get(group).text(), "[4, -15, 0, 1, 3, 1]", "{group}");
        }
        httpd.wait_for_log("wrong in the child", SOON);
        httpd.wait_for_log("last words", SOON);
        httpd.wait_for_log("the child ended with 3", SOON);
        // One for each group, and a preloader.
        eventually("no process more than the workers", SOON, || {
            let supervisor = httpd.supervisor()?;
            (supervisor.descendants().len() == 4).then_some(())
        });
        httpd.stop();
    });
}
