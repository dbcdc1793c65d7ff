//! The server of the cases: the applications of `apps/*_cases.py`, in clear and
//! over TLS, by HTTP/1.1 and HTTP/2.

use std::path::PathBuf;
use std::process::Command;

use crate::checked::Checked;
use crate::curl::{Curl, Transport};
use crate::httpd::{Builder, Httpd};
use crate::mpm::Mpm;
use crate::site::Site;
use crate::{cache, claims};

/// What `/head/wrong` of `head_cases.py` can return that is no response.
pub const NO_RESPONSES: [&str; 10] = [
    "no start",
    "no start, empty",
    "start after data",
    "text",
    "none item",
    "int item",
    "none",
    "int",
    "string",
    "bytes",
];

/// A running server with all the case applications.
#[derive(Debug)]
pub struct Wire {
    /// The site; its directory must outlive the server.
    pub site: Site,
    /// The server.
    pub httpd: Httpd,
    /// Where it speaks TLS.
    pub tls_port: u16,
}

/// Where the two ways in are; can be had while the server is elsewhere.
#[derive(Clone, Debug)]
pub struct Addresses {
    clear: String,
    tls: String,
}

impl Addresses {
    /// Those of a server.
    #[must_use]
    pub fn of(httpd: &Httpd, tls_port: u16) -> Self {
        Self {
            clear: format!("http://127.0.0.1:{}", httpd.address().port()),
            tls: format!("https://127.0.0.1:{tls_port}"),
        }
    }

    /// The URL of a path.
    #[must_use]
    pub fn url(&self, transport: Transport, path: &str) -> String {
        format!(
            "{}{path}",
            if transport.is_tls() {
                &self.tls
            } else {
                &self.clear
            }
        )
    }

    /// A request for a path.
    #[must_use]
    pub fn curl(&self, transport: Transport, path: &str) -> Curl {
        Curl::new(transport, &self.url(transport, path))
    }
}

impl Wire {
    /// Starts it; `more` adds to the configuration.
    #[must_use]
    pub fn start(mpm: Mpm, more: impl FnOnce(Builder, &Site) -> Builder) -> Self {
        let site = Site::new();
        let (builder, tls_port) = with_tls(Httpd::builder().mpm(mpm), mpm);
        let builder = builder
            .daemon(
                "site",
                &format!("processes=1 threads=6 {}", site.python_path()),
            )
            .daemon(
                "other",
                &format!("processes=1 threads=4 {}", site.python_path()),
            );
        let builder =
            ["body", "head", "stream", "validated"]
                .iter()
                .fold(builder, |builder, name| {
                    builder.mount(
                        &format!("/{name}"),
                        &site.file(&format!("{name}_cases.py")),
                        "site",
                    )
                });
        let builder = builder
            .mount("/strict", &site.file("body_cases.py"), "site")
            .mount("/other", &site.file("stream_cases.py"), "other")
            .mount("/probe", &site.file("probe.py"), "site")
            .line("<LocationMatch ^/(body|validated)/>\n  WSGIChunkedRequest On\n</LocationMatch>");
        let httpd = more(builder, &site).start();
        let wire = Self {
            site,
            httpd,
            tls_port,
        };
        wire.warm_up();
        wire
    }

    /// Both ways in.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        Addresses::of(&self.httpd, self.tls_port)
    }

    /// The site (to be kept), the ways in, and the server as one of many cases.
    #[must_use]
    pub fn checked(self) -> (Site, Addresses, Checked) {
        let addresses = self.addresses();
        (self.site, addresses, Checked::new(self.httpd))
    }

    /// Makes every module and both groups do all that they do once only.
    fn warm_up(&self) {
        for transport in Transport::ONE {
            for path in ["/probe/hello", "/other/pid"] {
                let answer = self.addresses().curl(transport, path).run();
                assert_eq!(answer.status(), 200, "{transport:?} {path}: {answer:?}");
            }
        }
    }
}

/// Adds a TLS port, and HTTP/2 where the MPM can do it.
///
/// # Panics
/// If there is no certificate.
#[must_use]
pub fn with_tls(mut builder: Builder, mpm: Mpm) -> (Builder, u16) {
    let port = builder.another_port();
    let (certificate, key) = certificate();
    if mpm != Mpm::Prefork {
        builder = builder
            .load("http2")
            .line("Protocols h2 h2c http/1.1\nH2EarlyHints on\nLogLevel http2:warn");
    }
    builder = builder.load("socache_shmcb").load("ssl").line("LogLevel ssl:warn").line(format!(
        "<VirtualHost *:{port}>\n  ServerName localhost\n  SSLEngine on\n  SSLCertificateFile {}\n  SSLCertificateKeyFile {}\n</VirtualHost>",
        certificate.display(),
        key.display()
    ));
    (builder, port)
}

/// The transports to try with this MPM: all that httpd knows there. Its
/// `mod_http2` refuses prefork.
#[must_use]
pub fn transports(mpm: Mpm) -> &'static [Transport] {
    claims::by_every_transport(mpm);
    match mpm {
        Mpm::Event | Mpm::Worker => &Transport::ALL,
        Mpm::Prefork => &Transport::ONE,
    }
}

/// A certificate for localhost and its key, made once.
///
/// # Panics
/// If openssl cannot make them.
#[must_use]
pub fn certificate() -> (PathBuf, PathBuf) {
    let directory = cache::entry("certificate", |path| {
        cache::make_readable_directory(path);
        let output = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "3650",
                "-subj",
                "/CN=localhost",
            ])
            .args([
                "-addext",
                "subjectAltName=DNS:localhost,IP:127.0.0.1",
                "-keyout",
            ])
            .arg(path.join("key.pem"))
            .arg("-out")
            .arg(path.join("certificate.pem"))
            .output()
            .map_err(|error| format!("openssl: {error}"))?;
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    });
    (directory.join("certificate.pem"), directory.join("key.pem"))
}

/// Text as it stands in a query.
#[must_use]
pub fn quoted(text: &str) -> String {
    text.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}
