//! The real supervisor with real workers, without httpd: a stand-in plays the
//! httpd parent and its children.

#[cfg(test)]
mod identity;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod stand_in;
#[cfg(test)]
mod standalone;
