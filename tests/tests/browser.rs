//! The status page in a real browser: narrow and wide, light and dark, and with
//! nothing from anywhere else.

use wsgid_tests::browser::{Browser, View};
use wsgid_tests::{Httpd, Limit, Python, Site, case};

const VIEWS: [View; 4] = [
    View {
        width: 360,
        dark: false,
    },
    View {
        width: 360,
        dark: true,
    },
    View {
        width: 1600,
        dark: false,
    },
    View {
        width: 1600,
        dark: true,
    },
];

/// The texts whose contrast with what is behind them is below 4.5 : 1 (WCAG 2.2, 1.4.3).
const FAINT: &str = r#"
const channels = text => (text.match(/[\d.]+/g) || []).map(Number);
const light = color => {
  const [r, g, b] = channels(color).map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = node => {
  for (; node; node = node.parentElement) {
    const color = getComputedStyle(node).backgroundColor;
    const alpha = channels(color)[3];
    if (alpha === undefined || alpha === 1) return color;
  }
  return matchMedia("(prefers-color-scheme: dark)").matches ? "rgb(18, 18, 18)" : "rgb(255, 255, 255)";
};
const faint = [];
for (const node of document.body.querySelectorAll("*")) {
  const own = [...node.childNodes].some(child => child.nodeType === 3 && child.data.trim());
  if (!own || !node.getClientRects().length) continue;
  const [a, b] = [light(getComputedStyle(node).color), light(behind(node))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) faint.push(node.textContent.trim().slice(0, 40) + " " + ratio.toFixed(2));
}
return faint;
"#;

/// A server with a group that serves, one that is idle, and one that fails.
fn server() -> (Site, Httpd) {
    let site = Site::new();
    site.write("broken.py", "import a_module_that_is_not_there\n");
    let options = format!(
        "python-home={} {}",
        Python::any().home.display(),
        site.python_path()
    );
    let httpd = Httpd::builder()
        .load("authz_host")
        .daemon("site", &format!("processes=2 threads=3 {options}"))
        .daemon(
            "a-group-with-a-name-that-is-longer-than-a-telephone-is-wide",
            &options,
        )
        .daemon("broken", &options)
        .mount("/app", &site.file("probe.py"), "site")
        .mount("/broken", &site.file("broken.py"), "broken")
        .line("<Location /groups>\nSetHandler wsgid-status\nRequire local\n</Location>")
        .start();
    (site, httpd)
}

#[test]
fn the_page_fits_and_can_be_read() {
    case(Limit::default(), || {
        let (_site, httpd) = server();
        assert_eq!(httpd.get("/app/hello").status, 200);
        assert_eq!(httpd.get("/broken").status, 500);
        let browser = Browser::start();
        for view in VIEWS {
            browser.open(&httpd.url("/groups"), view);
            let widest = browser
                .run("return document.documentElement.scrollWidth")
                .as_u64();
            assert!(
                widest <= Some(view.width.into()),
                "{view:?}: {widest:?} pixels"
            );
            let faint = browser.run(FAINT);
            assert_eq!(faint.as_array().map(Vec::len), Some(0), "{view:?}: {faint}");
            let others =
                browser.run("return performance.getEntriesByType('resource').map(e => e.name)");
            assert_eq!(
                others.as_array().map(Vec::len),
                Some(0),
                "{view:?}: {others}"
            );
            let text = browser.run("return document.body.textContent");
            let text = text.as_str().unwrap_or_default();
            assert!(
                text.contains("a_module_that_is_not_there"),
                "{view:?}: {text}"
            );
        }
        // What is looked for would be found.
        let _ = browser.run("document.querySelector('p').style.color = '#555'");
        assert_ne!(browser.run(FAINT).as_array().map(Vec::len), Some(0));
    });
}
