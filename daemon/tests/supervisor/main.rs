//! The real supervisor with real workers, without httpd: a stand-in plays the
//! httpd parent and its children.

mod reload;
mod requests;
mod stand_in;
