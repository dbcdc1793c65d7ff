//! Lines as objects in JSON: of the supervisor, of workers, over reexec, and who keeps to text.

use wsgid_tests::{Httpd, Json, Limit, Site, case, control, eventually};

use crate::SOON;

/// Output of the process, and of a request.
const SAYS: &str = "\
import os
def application(environ, start_response):
    os.write(2, b'aside ' + environ['QUERY_STRING'].encode() + b'\\n')
    if environ['QUERY_STRING'] == 'print':
        print('of a request', file=environ['wsgi.errors'])
    start_response('200 OK', [('X-Id', environ['mod_wsgi.request_id'])])
    return [b'%d' % os.getpid()]
";

/// The lines of the error log that are objects; panics if one of the supervisor's is not.
fn objects(httpd: &Httpd) -> Vec<Json> {
    let log = httpd.error_log();
    // The last one may be half there.
    let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let mut of_text = whole.lines().filter(|line| line.contains("[wsgid:"));
    assert!(of_text.all(|line| line.contains("[group text]")), "{whole}");
    let lines = whole.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

fn wait(httpd: &Httpd, text: &str) -> Json {
    eventually(text, SOON, || {
        let found = |line: &Json| {
            line["text"]
                .as_str()
                .is_some_and(|said| said.contains(text))
        };
        objects(httpd).into_iter().find(found)
    })
}

#[test]
fn lines_are_objects_where_that_is_asked_for() {
    case(Limit::default(), || {
        let site = Site::new();
        let script = site.write("aside.py", SAYS);
        let httpd = Httpd::builder()
            .line("WSGILogFormat json")
            .daemon("json", "threads=2 request-log=On")
            .daemon("text", "threads=2 log-format=text")
            .mount("/json", &script, "json")
            .mount("/text", &script, "text")
            .start();
        let worker: u64 = httpd
            .get("/json?%22one%22%5c")
            .text()
            .parse()
            .expect("a pid");
        let line = wait(&httpd, "aside %22one");
        assert_eq!(
            (&line["group"], &line["worker"]),
            (&"json".into(), &worker.into())
        );
        assert_eq!((&line["level"], line.get("id")), (&"error".into(), None));
        // What belongs to a request names it, by the id that httpd shows.
        let id = httpd
            .get("/json?print")
            .header("x-id")
            .expect("an id")
            .to_owned();
        let line = wait(&httpd, "of a request");
        assert_eq!(
            (&line["request"], &line["worker"]),
            (&id.into(), &worker.into())
        );
        let _ = httpd.get("/text?two");
        let line = httpd.wait_for_log("aside two", SOON);
        assert!(line.contains("[group text] aside two"), "{line}");
        // The first line of the supervisor, and those behind a change of program.
        assert_eq!(wait(&httpd, "supervises (pid")["level"], "notice");
        let said = control::command(&httpd, &["reexec"]).expect("a control socket");
        assert_eq!(said.code, 0, "{}", said.text);
        wait(&httpd, "it goes on with");
        let pid = control::workers(&httpd, "json").expect("a supervisor")[0];
        pid.kill();
        let line = wait(&httpd, "SIGKILL");
        assert_eq!(
            (&line["id"], &line["level"]),
            (&"WSGID0240".into(), &"error".into())
        );
        let supervisor = httpd.supervisor().expect("a supervisor").number;
        assert_eq!(
            (&line["pid"], line.get("worker")),
            (&supervisor.into(), None)
        );
        httpd.stop();
    });
}
