//! A real browser without a window: Chromium, driven through chromedriver
//! (W3C WebDriver and, for what that has no words for, Chromium's own commands).
//! It resolves no name, so it asks nobody but the addresses it is given.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::{Client, Json, Request};

/// For a page to be there, or a browser to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with one page.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    _profile: tempfile::TempDir,
}

/// How the page is to be shown.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Pixels from left to right.
    pub width: u32,
    /// Whether the reader wants light letters on a dark ground.
    pub dark: bool,
}

impl Browser {
    /// Starts chromedriver and a browser.
    ///
    /// # Panics
    /// If there is no `chromium` or no `chromedriver`.
    #[must_use]
    pub fn start() -> Self {
        let profile = tempfile::tempdir().expect("a temporary directory");
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is installed (Debian: chromium-driver)");
        let port = BufReader::new(driver.stdout.take().expect("a pipe"))
            .lines()
            .map_while(Result::ok)
            .find_map(|line| {
                let (_, port) = line.split_once("started successfully on port ")?;
                port.trim_end_matches('.').parse().ok()
            });
        let mut browser = Self {
            driver,
            address: (Ipv4Addr::LOCALHOST, port.expect("chromedriver's port")).into(),
            session: String::new(),
            _profile: profile,
        };
        let options = json!({"args": [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            format!("--user-data-dir={}", browser._profile.path().display()),
        ]});
        let wanted = json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}});
        let session = browser.post("", &wanted);
        browser.session = session["sessionId"].as_str().expect("a session").to_owned();
        browser
    }

    /// Opens a page as it is to be shown, and waits until it is loaded.
    ///
    /// # Panics
    /// If it cannot be loaded.
    pub fn open(&self, url: &str, view: View) {
        let View { width, dark } = view;
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.chromium("Emulation.setEmulatedMedia", &json!({"features": features}));
        let metrics =
            json!({"width": width, "height": 500, "deviceScaleFactor": 1, "mobile": false});
        self.chromium("Emulation.setDeviceMetricsOverride", &metrics);
        self.post("/url", &json!({ "url": url }));
    }

    /// What a function of this body gives on the page.
    ///
    /// # Panics
    /// If it throws.
    #[must_use]
    pub fn run(&self, script: &str) -> Json {
        self.post("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// A picture of the whole page, as PNG in base64.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn picture(&self) -> String {
        let how = json!({"format": "png", "captureBeyondViewport": true});
        let shot = self.chromium("Page.captureScreenshot", &how);
        shot["data"].as_str().expect("a picture").to_owned()
    }

    fn chromium(&self, command: &str, with: &Json) -> Json {
        self.post(
            "/goog/cdp/execute",
            &json!({"cmd": command, "params": with}),
        )
    }

    fn post(&self, path: &str, with: &Json) -> Json {
        let session = match self.session.as_str() {
            "" => "/session".to_owned(),
            session => format!("/session/{session}"),
        };
        let request = Request::post(&format!("{session}{path}"), with.to_string())
            .header("Content-Type", "application/json");
        let response = Client::new(self.address)
            .timeout(PATIENCE)
            .send(&request)
            .expect("chromedriver answers");
        let mut answer = response.json();
        assert_eq!(response.status, 200, "{path}: {answer}");
        answer["value"].take()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let end = Request::new("DELETE", &format!("/session/{}", self.session));
        // It ends the browser; whatever it answers, chromedriver ends next.
        let _ = Client::new(self.address).send(&end);
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
