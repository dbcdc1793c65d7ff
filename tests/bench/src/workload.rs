//! The workloads: what is asked of which application, and what a right answer looks like.
//! Knows nothing of servers or of how load is made.

/// An application file under `apps/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum App {
    Plain,
    Flask,
    Django,
}

impl App {
    /// The name of its Python module.
    pub(crate) fn module(self) -> &'static str {
        match self {
            Self::Plain => "bench_app",
            Self::Flask => "bench_flask",
            Self::Django => "bench_django",
        }
    }
}

/// One kind of request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) path: &'static str,
    /// Bytes of request body.
    pub(crate) upload_len: u64,
    /// Length of the right answer's body, if it is known.
    pub(crate) answer_len: Option<u64>,
}

const fn get(path: &'static str, answer_len: Option<u64>) -> Ask {
    Ask {
        path,
        upload_len: 0,
        answer_len,
    }
}

const fn put(path: &'static str, upload_len: u64) -> Ask {
    Ask {
        path,
        upload_len,
        answer_len: Some(13),
    }
}

/// A named mix of requests.
#[derive(Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) app: App,
    pub(crate) ask: Ask,
    /// A second kind of request and its share in per cent.
    pub(crate) rare: Option<(Ask, u32)>,
    /// httpd's own static file can answer it.
    pub(crate) as_file: bool,
    /// The handler inside httpd can answer it.
    pub(crate) in_limit: bool,
}

const HELLO_LEN: u64 = 14;
const MIB: u64 = 1024 * 1024;
/// Length of the large file, upload and download.
pub(crate) const LARGE: u64 = 100 * MIB;

const fn plain(name: &'static str, what: &'static str, ask: Ask) -> Workload {
    Workload {
        name,
        what,
        app: App::Plain,
        ask,
        rare: None,
        as_file: false,
        in_limit: false,
    }
}

/// All workloads, in the order of the report.
pub(crate) static ALL: &[Workload] = &[
    Workload {
        as_file: true,
        in_limit: true,
        ..plain("hello", "14 bytes of text", get("/hello", Some(HELLO_LEN)))
    },
    Workload {
        app: App::Flask,
        ..plain("flask", "Flask view, small JSON", get("/json", None))
    },
    Workload {
        app: App::Django,
        ..plain(
            "django",
            "Django view, template of 20 rows",
            get("/page", None),
        )
    },
    plain("cpu", "5 ms of computing", get("/cpu/5", Some(HELLO_LEN))),
    plain(
        "sleep",
        "20 ms of waiting",
        get("/sleep/20", Some(HELLO_LEN)),
    ),
    Workload {
        rare: Some((get("/cpu/50", Some(HELLO_LEN)), 5)),
        ..plain(
            "mixed",
            "95 % with 1 ms, 5 % with 50 ms of computing",
            get("/cpu/1", Some(HELLO_LEN)),
        )
    },
    Workload {
        rare: Some((get("/sleep/200", Some(HELLO_LEN)), 5)),
        ..plain(
            "mixed-io",
            "95 % with 1 ms of computing, 5 % with 200 ms of waiting",
            get("/cpu/1", Some(HELLO_LEN)),
        )
    },
    Workload {
        as_file: true,
        in_limit: true,
        ..plain("10k", "answer of 10 KiB", get("/bytes/10240", Some(10_240)))
    },
    Workload {
        as_file: true,
        in_limit: true,
        ..plain(
            "1m",
            "answer of 1 MiB in one piece",
            get("/bytes/1048576", Some(MIB)),
        )
    },
    plain(
        "stream",
        "generator, 16 blocks of 64 KiB",
        get("/stream", Some(MIB)),
    ),
    plain(
        "download",
        "generator, 1600 blocks of 64 KiB",
        get("/download", Some(LARGE)),
    ),
    Workload {
        as_file: true,
        ..plain(
            "file",
            "wsgi.file_wrapper of 100 MiB",
            get("/file", Some(LARGE)),
        )
    },
    Workload {
        in_limit: true,
        ..plain("upload-64k", "upload of 64 KiB", put("/upload", 65_536))
    },
    Workload {
        in_limit: true,
        ..plain("upload", "upload of 100 MiB", put("/upload", LARGE))
    },
];

/// The workload of that name.
pub(crate) fn find(name: &str) -> Option<&'static Workload> {
    ALL.iter().find(|workload| workload.name == name)
}

/// Processes × threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Shape {
    pub(crate) processes: u32,
    pub(crate) threads: u32,
}

impl Shape {
    pub(crate) const fn new(processes: u32, threads: u32) -> Self {
        Self { processes, threads }
    }

    /// Reads `4x5`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (processes, threads) = text.split_once(['x', '×'])?;
        let shape = Self::new(processes.trim().parse().ok()?, threads.trim().parse().ok()?);
        (shape.processes > 0 && shape.threads > 0).then_some(shape)
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}×{}", self.processes, self.threads)
    }
}

#[cfg(test)]
mod tests {
    use super::{ALL, Shape, find};

    #[test]
    fn shapes_are_read_and_refused() {
        assert_eq!(Shape::parse("4x5"), Some(Shape::new(4, 5)));
        assert_eq!(Shape::parse("0x5"), None);
        assert_eq!(Shape::parse("4"), None);
    }

    #[test]
    fn names_are_unique() {
        for workload in ALL {
            assert!(
                std::ptr::eq(find(workload.name).unwrap(), workload),
                "{} is named twice",
                workload.name
            );
        }
    }
}
