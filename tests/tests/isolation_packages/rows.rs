//! The packages, what each of them does (the functions of `apps/packages/of_*.py`), and what
//! has to be opened for it under `isolation=strict`. The table of docs/isolation.md is
//! printed from it.

use std::fmt::Write as _;

use crate::{PRIVATE, STRICT};

/// What has to be opened for a package.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Opened {
    /// Nothing.
    Nothing,
    /// This option, under strict; `DATA` is a directory.
    Strict(&'static str),
    /// This option, under private too.
    Both(&'static str),
}
use Opened::{Both, Nothing, Strict};

impl Opened {
    /// The option, if one is needed under this preset.
    pub(crate) fn under(self, preset: &str) -> Option<&'static str> {
        match self {
            Nothing => None,
            Strict(option) => (preset == STRICT).then_some(option),
            Both(option) => Some(option),
        }
    }
}

/// One package.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// As people call it.
    pub(crate) name: &'static str,
    /// The function that uses it.
    pub(crate) function: &'static str,
    /// What pip installs; nothing for the standard library, `PROGRAM` for a program of the system.
    pub(crate) pip: &'static str,
    /// What it does.
    pub(crate) does: &'static str,
    /// Without what it does not work.
    pub(crate) opened: Opened,
    /// Large: used where `WSGID_PACKAGES=all` asks for it.
    pub(crate) large: bool,
}

/// In the place of a package.
pub(crate) const PROGRAM: &str = "a program";

const DATA: Opened = Strict("read-write-paths=DATA");
const SPACES: Opened = Both("allow-system-calls=unshare");
const CALLS: Opened = Both("allow-system-calls=sched_setaffinity,setpriority");

macro_rules! rows {
    ($($name:literal $function:ident $pip:expr, $does:literal $opened:expr, $large:literal;)*) => {
        /// All of them.
        pub(crate) const ROWS: &[Row] = &[$(Row {
            name: $name,
            function: stringify!($function),
            pip: $pip,
            does: $does,
            opened: $opened,
            large: $large,
        }),*];
    };
}

rows! {
    "NumPy" numpy "numpy", "product of two matrices" Nothing, false;
    "SciPy" scipy "scipy", "a determinant, a root" Nothing, false;
    "pandas" pandas "pandas", "writes and reads CSV, groups it" Nothing, false;
    "Matplotlib" matplotlib "matplotlib", "draws a curve to a PNG" Nothing, false;
    "h5py" h5py "h5py", "writes and reads HDF5" Nothing, false;
    "Pillow" pillow "pillow", "draws text with a font of the system, saves a JPEG" Nothing, false;
    "ReportLab" reportlab "reportlab", "writes a PDF" Nothing, false;
    "openpyxl" openpyxl "openpyxl", "writes and reads a workbook" Nothing, false;
    "lxml" lxml "lxml", "XPath, HTML" Nothing, false;
    "cryptography" cryptography "cryptography", "Fernet, a certificate" Nothing, false;
    "bcrypt" bcrypt "bcrypt", "hashes a password and looks at it" Nothing, false;
    "argon2-cffi" argon2 "argon2-cffi", "the same" Nothing, false;
    "Paramiko" paramiko "paramiko", "makes a key and signs" Nothing, false;
    "cffi" cffi "cffi", "C calls back into Python" Nothing, false;
    "Pydantic" pydantic "pydantic", "checks a model" Nothing, false;
    "orjson" orjson "orjson", "there and back" Nothing, false;
    "MessagePack" msgpack "msgpack", "there and back" Nothing, false;
    "LZ4" lz4 "lz4", "there and back" Nothing, false;
    "Zstandard" zstandard "zstandard", "there and back, with threads" Nothing, false;
    "PyYAML" yaml "pyyaml", "reads with the C loader" Nothing, false;
    "Jinja2" jinja2 "jinja2", "compiles and renders a template" Nothing, false;
    "Django" django "django", "a model in SQLite and an upload, in the site's directory" DATA, false;
    "SQLAlchemy" sqlalchemy "sqlalchemy", "a table in SQLite, in a temporary directory" Nothing, false;
    "LMDB" lmdb "lmdb", "a database that is mapped into memory" Nothing, false;
    "psycopg" psycopg "psycopg[binary]", "PostgreSQL by its socket in `/run` and by TCP" Nothing, false;
    "PyMySQL" pymysql "pymysql", "MySQL by its socket in `/run` and by TCP" Nothing, false;
    "redis" redis "redis", "Redis by its socket in `/run` and by TCP" Nothing, false;
    "Requests" requests "requests", "HTTPS, and a certificate that is refused" Nothing, false;
    "HTTPX" httpx "httpx", "HTTPS" Nothing, false;
    "urllib3" urllib3 "urllib3", "HTTPS" Nothing, false;
    "aiohttp" aiohttp "aiohttp", "HTTPS on an event loop" Nothing, false;
    "gRPC" grpcio "grpcio", "server and client in one process" Nothing, false;
    "Celery" celery "celery", "sends tasks by the brokers in files and in memory" Nothing, false;
    "boto3" boto3 "boto3", "makes a client and signs a URL" Nothing, false;
    "Sentry SDK" sentry_sdk "sentry-sdk", "starts and sends an event" Nothing, false;
    "dnspython" dnspython "dnspython", "reads `/etc/resolv.conf`" Nothing, false;
    "uvloop" uvloop "uvloop", "server, client and name look-up" Nothing, false;
    "gevent" gevent "gevent", "server, client and name look-up" Nothing, false;
    "Tornado" tornado "tornado", "server and client" Nothing, false;
    "PyZMQ" pyzmq "pyzmq", "`inproc` and `ipc`" Nothing, false;
    "watchdog" watchdog "watchdog", "sees a new file by inotify" Nothing, false;
    "psutil" psutil "psutil", "processors, memory, disks, networks, processes" Nothing, false;
    "psutil" priorities "psutil", "sets nice and affinity of a process by its number" CALLS, false;
    "Pexpect" pexpect "pexpect", "speaks to a shell on a terminal" Nothing, false;
    "asyncio" asyncio "", "a subprocess and a thread" Nothing, false;
    "concurrent.futures" concurrent_futures "", "ProcessPoolExecutor" Nothing, false;
    "ctypes" ctypes "", "C calls back; a library out of a temporary directory" Nothing, false;
    "fcntl" fcntl "", "locks between two processes" Nothing, false;
    "locale" locale "", "setlocale" Nothing, false;
    "logging" logging "", "SysLogHandler" Nothing, false;
    "mmap" mmap "", "memory that runs, a mapped file, memfd" Nothing, false;
    "multiprocessing" multiprocessing "", "Pool by fork, spawn and forkserver; shared memory; Manager" Nothing, false;
    "os.openpty" pty "", "a terminal" Nothing, false;
    "pwd, grp" pwd "", "user and group by number and by name" Nothing, false;
    "resource, signal" resource "", "limits; ends a child" Nothing, false;
    "socket" socket "", "localhost by name, pairs, IPv6" Nothing, false;
    "sqlite3" sqlite3 "", "a database with a WAL, in the site's directory" DATA, false;
    "ssl" ssl "", "the system's certificates, a connection" Nothing, false;
    "subprocess" subprocess "", "a pipe; a program made in a temporary directory" Nothing, false;
    "sys.executable" sys_ "", "Python starts itself" Nothing, false;
    "tempfile" tempfile_ "", "`/tmp`, `/var/tmp`, `/dev/shm`" Nothing, false;
    "threading" threading_ "", "a thread, its processors" Nothing, false;
    "zoneinfo" zoneinfo "", "the system's time zones" Nothing, false;
    "Numba" numba "numba", "compiles a loop for several threads" Nothing, true;
    "scikit-learn" sklearn "scikit-learn", "fits a line; joblib with processes" Nothing, true;
    "Polars" polars "polars", "groups a table" Nothing, true;
    "PyArrow" pyarrow "pyarrow", "pandas writes and reads Parquet" Nothing, true;
    "OpenCV" cv2 "opencv-python-headless", "draws, writes and reads a PNG" Nothing, true;
    "Chromium" chromium PROGRAM, "prints a page, in its own sandbox" SPACES, true;
}

/// The table for the page.
pub(crate) fn table() -> String {
    let mut text = String::from(
        "| package | what it does in the test | under `private` | under `strict` |\n|---|---|---|---|\n",
    );
    for row in ROWS {
        let kind = match row.pip {
            "" => " (standard library)",
            PROGRAM => " (a program)",
            _ => "",
        };
        let [private, strict] = [PRIVATE, STRICT].map(|preset| {
            let option = row.opened.under(preset);
            option.map_or_else(|| "works".to_owned(), |option| format!("with `{option}`"))
        });
        let Row { name, does, .. } = row;
        let _ = writeln!(text, "| {name}{kind} | {does} | {private} | {strict} |");
    }
    text
}
