//! The MPMs: how httpd divides its work. Chosen by the suites, written into the
//! configuration by `builder`.

/// How httpd divides its work among processes and threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mpm {
    /// Threads, with a listener for idle connections.
    Event,
    /// Threads.
    Worker,
    /// One process per connection.
    Prefork,
}

impl Mpm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Event, Self::Worker, Self::Prefork];

    pub(crate) fn lines(self) -> &'static str {
        match self {
            Self::Event => {
                "LoadModule mpm_event_module $/mod_mpm_event.so\n\
                 StartServers 2\nServerLimit 8\nThreadsPerChild 32\nMaxRequestWorkers 256\n"
            }
            Self::Worker => {
                "LoadModule mpm_worker_module $/mod_mpm_worker.so\n\
                 StartServers 2\nServerLimit 8\nThreadsPerChild 32\nMaxRequestWorkers 256\n"
            }
            Self::Prefork => {
                "LoadModule mpm_prefork_module $/mod_mpm_prefork.so\n\
                 StartServers 8\nMinSpareServers 4\nServerLimit 64\nMaxRequestWorkers 64\n"
            }
        }
    }
}
