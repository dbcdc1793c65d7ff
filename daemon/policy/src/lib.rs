//! What the supervisor decides: how many workers a pool has and when they are started,
//! replaced and stopped, which preloader a worker is forked from, who starts next, which
//! worker gets a connection or watches the files, how long requests wait for new code, and
//! which groups give way, and how it all is in a word. Events and the time go in,
//! decisions come out. The crate depends on the protocol, serde and thiserror alone, so
//! that the compiler sees that nothing here reads, writes or waits. Called by `wsgid`.

pub mod condition;
pub mod definition;
pub mod fairness;
pub mod ids;
pub mod instant;
pub mod peer_quota;
pub mod placement;
pub mod pool;
pub mod preloaders;
pub mod reload_wait;
pub mod room;
pub mod spawn_queue;
pub mod user_share;
pub mod watching;
