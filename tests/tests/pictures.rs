//! The pictures of docs/watching.md: the status page in a real browser and `wsgid top` in a
//! real terminal. Each run draws them; `make pictures` keeps them in docs/pictures.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use wsgid_tests::browser::{Browser, View};
use wsgid_tests::terminal::Terminal;
use wsgid_tests::{Httpd, Limit, Python, Site, artifacts, case};

/// Groups of a shared server: two that serve, one whose release does not load, one whose
/// Python is not there, one that nobody has asked for.
fn server(site: &Site) -> Httpd {
    let python = Python::any();
    let options = format!(
        "python-home={} {}",
        python.home.display(),
        site.python_path()
    );
    site.write("broken.py", "import shop.payment\n");
    let slow = "import os, time\ndef application(environ, start_response):\n    \
        while not os.path.exists(__file__ + '.go'):\n        time.sleep(0.05)\n    \
        start_response('200 OK', [])\n    return [b'x']\n";
    site.write("report.py", slow);
    Httpd::builder()
        .load("authz_host")
        .daemon("shop", &format!("processes=2 threads=3 {options}"))
        .daemon("blog", &format!("processes=2 threads=3 {options}"))
        .daemon("wiki", &options)
        .daemon("old-site", "python-home=/srv/old-site/venv")
        .daemon("intern", &format!("processes=0..2 idle-stop=60 {options}"))
        .mount("/shop", &site.file("probe.py"), "shop")
        .mount("/report", &site.file("report.py"), "shop")
        .mount("/blog", &site.file("probe.py"), "blog")
        .mount("/wiki", &site.file("broken.py"), "wiki")
        .mount("/old", &site.file("probe.py"), "old-site")
        .line("<Location /groups>\nSetHandler wsgid-status\nRequire local\n</Location>")
        .start()
}

fn keep(directory: &Path, name: &str, base64: &str) {
    let path = directory.join(name);
    let file = std::fs::File::create(&path).expect("a picture can be kept");
    let mut decoder = Command::new("base64")
        .arg("--decode")
        .stdin(Stdio::piped())
        .stdout(file)
        .spawn()
        .expect("coreutils have base64");
    let mut input = decoder.stdin.take().expect("a pipe");
    input.write_all(base64.as_bytes()).expect("it reads");
    drop(input);
    assert!(decoder.wait().expect("it ends").success());
    let bytes = std::fs::read(&path).expect("it is there");
    assert!(
        bytes.starts_with(b"\x89PNG") && bytes.len() > 10_000,
        "{name} is no picture"
    );
}

/// The sixteen colours of a terminal.
const COLORS: [&str; 16] = [
    "#1d2433", "#e06c5a", "#4cc38a", "#f0b45b", "#7fb2ff", "#c792ea", "#56c8d8", "#d0d5dd",
    "#98a2b3", "#ff8a65", "#6fe0a8", "#ffd08a", "#a5caff", "#ddb3ff", "#8be4f0", "#ffffff",
];

fn color(color: vt100::Color, usual: &str) -> String {
    match color {
        vt100::Color::Default => usual.to_owned(),
        vt100::Color::Idx(number) => COLORS
            .get(usize::from(number))
            .unwrap_or(&usual)
            .to_string(),
        vt100::Color::Rgb(red, green, blue) => format!("rgb({red},{green},{blue})"),
    }
}

/// The screen as a page.
fn page_of(screen: &vt100::Screen) -> String {
    let mut page = "<!DOCTYPE html><meta charset=utf-8><body style='margin:0;background:#12151a'>\
        <pre style='margin:0;padding:16px;font:14px/1.35 \"DejaVu Sans Mono\",monospace'>"
        .to_owned();
    let (rows, columns) = screen.size();
    for row in 0..rows.get() {
        for cell in (0..columns.get()).filter_map(|column| screen.cell(row, column)) {
            let mut colors = [
                color(cell.fgcolor(), "#e4e7ec"),
                color(cell.bgcolor(), "#12151a"),
            ];
            if cell.inverse() {
                colors.reverse();
            }
            let weight = if cell.bold() { 700 } else { 400 };
            let text = match cell.contents() {
                "" => " ".to_owned(),
                text => text.replace('&', "&amp;").replace('<', "&lt;"),
            };
            let [front, back] = colors;
            let _ = write!(
                page,
                "<span style='color:{front};background:{back};font-weight:{weight}'>{text}</span>"
            );
        }
        page.push('\n');
    }
    page + "</pre>"
}

#[test]
fn the_page_and_top_as_they_are() {
    case(Limit::default(), || {
        let site = Site::new();
        let httpd = server(&site);
        for path in ["/shop/hello", "/blog/hello"] {
            (0..40).for_each(|_| assert_eq!(httpd.get(path).status, 200, "{path}"));
        }
        assert_eq!(
            (httpd.get("/wiki").status, httpd.get("/old/x").status),
            (500, 503)
        );
        let place = tempfile::tempdir().expect("a temporary directory");
        let kept = std::env::var_os("WSGID_PICTURES").map(PathBuf::from);
        let directory = kept.unwrap_or_else(|| place.path().to_path_buf());
        std::thread::scope(|scope| {
            scope.spawn(|| httpd.get("/report"));
            let mut command = Command::new(artifacts::wsgid());
            command.args(["top", "--interval", "0.5", "--socket"]);
            let mut top = Terminal::start(command.arg(httpd.control_socket()), 110, 24);
            top.wait("the request", |lines| {
                lines.iter().any(|line| line.contains("/report"))
            });
            let page = place.path().join("top.html");
            std::fs::write(&page, page_of(top.screen())).expect("a page can be written");
            let browser = Browser::start();
            let view = |width, dark| View { width, dark };
            browser.open(&format!("file://{}", page.display()), view(1000, true));
            keep(&directory, "top.png", &browser.picture());
            for (name, view) in [
                ("page.png", view(1200, false)),
                ("page-phone.png", view(360, false)),
            ] {
                browser.open(&httpd.url("/groups?still"), view);
                keep(&directory, name, &browser.picture());
            }
            site.write("report.py.go", "");
        });
    });
}
